/** Errors of the HTTP API: problem documents (RFC 9457) as an exception. */

export class RelayError extends Error {
  override readonly name = "RelayError";
  /** The HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** The whole problem document, for fields such as `errors`. */
  readonly problem: Readonly<Record<string, unknown>>;
  readonly retryAfterMs: number | null;

  constructor(
    status: number,
    message: string,
    problem: Readonly<Record<string, unknown>> = {},
    retryAfterMs: number | null = null,
  ) {
    super(message);
    this.status = status;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the relay answers but cannot reach its Redis: the connection is good, the shown state may be old. */
export function isUpstreamDown(error: unknown): error is RelayError & { readonly retryAfterMs: number } {
  return error instanceof RelayError && error.status === 503 && error.retryAfterMs !== null;
}

/** The error of a refused response. Never throws: a proxy may have put anything into the body. */
export async function problemOf(response: Response): Promise<RelayError> {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1_000 : null;
  let problem: Record<string, unknown> = {};
  try {
    const body: unknown = await response.json();
    if (typeof body === "object" && body !== null) problem = body as Record<string, unknown>;
  } catch {
    // not JSON: use the status
  }
  const text = [problem.detail, problem.title].find((value) => typeof value === "string" && value !== "");
  return new RelayError(response.status, String(text ?? `HTTP ${response.status}`), problem, retryAfterMs);
}

/** An answer that no relay gives: the page of a development server, for example. */
export function notARelay(response: Response): RelayError {
  const type = response.headers.get("content-type");
  return new RelayError(502, `this is not a relay (got ${type} from ${response.url})`);
}

/** The JSON of an answer. Rejects with a `RelayError` when it is none. */
export async function jsonOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    throw error instanceof SyntaxError ? notARelay(response) : error;
  }
}
