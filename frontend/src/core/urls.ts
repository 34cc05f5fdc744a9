/** The addresses of the relay's endpoints, from one base URL. Run ids are percent-encoded: they may be Hangul. */

export class RelayUrls {
  readonly #base: string;

  /** `base` is an http(s) URL, with or without a path and a trailing slash; "" means the page's origin. */
  constructor(base: string, origin: string | null) {
    const absolute = /^https?:\/\//i.test(base) ? base : `${origin ?? "http://localhost"}${base}`;
    this.#base = absolute.replace(/\/+$/, "");
  }

  http(path: string, query: Readonly<Record<string, string | null | undefined>> = {}): string {
    const pairs = Object.entries(query).filter(
      (pair): pair is [string, string] => pair[1] != null && pair[1] !== "",
    );
    const search = new URLSearchParams(pairs).toString();
    return `${this.#base}${path}${search === "" ? "" : `?${search}`}`;
  }

  /** ws for http, wss for https. */
  ws(path: string, query: Readonly<Record<string, string | null | undefined>> = {}): string {
    return this.http(path, query).replace(/^http/i, "ws");
  }

  run(runId: string): string {
    return `/api/runs/${encodeURIComponent(runId)}`;
  }
}
