/** Errors of the HTTP API: RFC 9457 problem documents, as an exception. */

export class RelayError extends Error {
  override readonly name = "RelayError";
  /** HTTP status, 0 when there was no answer. */
  readonly status: number;
  /** The whole problem document, for fields such as `errors`. */
  readonly problem: Readonly<Record<string, unknown>>;
  readonly retryAfterMs: number | null;

  constructor(
    status: number,
    message: string,
    problem: Readonly<Record<string, unknown>>,
    retryAfterMs: number | null,
  ) {
    super(message);
    this.status = status;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the relay is there and its Redis is not: the link is fine, what we show may be old. */
export function isUpstreamDown(error: unknown): error is RelayError & { readonly retryAfterMs: number } {
  return error instanceof RelayError && error.status === 503 && error.retryAfterMs !== null;
}

/** The error that a refused response describes; never throws itself, whatever a proxy put in the body. */
export async function problemOf(response: Response): Promise<RelayError> {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1_000 : null;
  let problem: Record<string, unknown> = {};
  try {
    const body: unknown = await response.json();
    if (typeof body === "object" && body !== null) problem = body as Record<string, unknown>;
  } catch {
    // not JSON: the status line has to do
  }
  const text = [problem.detail, problem.title].find((value) => typeof value === "string" && value !== "");
  return new RelayError(response.status, String(text ?? `HTTP ${response.status}`), problem, retryAfterMs);
}
