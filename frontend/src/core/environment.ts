/**
 * Everything that the client uses of the browser. It is passed in, so the client can be imported and tested without a
 * window.
 */

import type { EventStreamOpener } from "./eventStream.js";

export type PageSignal = "online" | "offline" | "hidden" | "visible";

export interface Environment {
  readonly WebSocket: typeof WebSocket | undefined;
  /** Opens a stream of Server-Sent Events, or `fetch` does; undefined where a response cannot be read in pieces. */
  readonly eventStream: EventStreamOpener | "fetch" | undefined;
  readonly fetch: typeof fetch;
  /** 0..1, for jitter. */
  readonly random: () => number;
  /** The page's origin, used when there is no `baseUrl`; null without a page. */
  readonly origin: string | null;
  /** Whether the page is hidden now. */
  readonly isHidden: () => boolean;
  readonly isOnline: () => boolean;
  /** Calls back on every signal until the returned function is called. */
  readonly onSignal: (listener: (signal: PageSignal) => void) => () => void;
}

/** The environment of this page. Safe on a server: globals are read at use, never at import. */
export function pageEnvironment(): Environment {
  const page = typeof document === "undefined" ? null : document;
  const send: typeof fetch = (...request) => globalThis.fetch(...request);
  return {
    WebSocket: globalThis.WebSocket,
    eventStream: typeof ReadableStream === "undefined" ? undefined : "fetch",
    fetch: send,
    random: Math.random,
    origin: typeof location === "undefined" ? null : location.origin,
    isHidden: () => page?.visibilityState === "hidden",
    isOnline: () => typeof navigator === "undefined" || navigator.onLine !== false,
    onSignal: (listener) => {
      if (page === null || typeof addEventListener === "undefined") return () => {};
      const owner = new AbortController();
      const { signal } = owner;
      addEventListener("online", () => listener("online"), { signal });
      addEventListener("offline", () => listener("offline"), { signal });
      page.addEventListener(
        "visibilitychange",
        () => listener(page.visibilityState === "hidden" ? "hidden" : "visible"),
        { signal },
      );
      return () => owner.abort();
    },
  };
}

/** What the client's requests carry. A browser's WebSocket cannot carry headers; it sends cookies by itself. */
export interface RequestOptions {
  /** As for `fetch`: `include` sends cookies to a relay on another origin, which must allow that. */
  readonly credentials?: RequestCredentials;
  /** Headers of your own, or a function that makes them for each request. */
  readonly headers?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>);
}

/** The same environment, its requests with these options. */
export function withRequests(
  environment: Environment,
  { credentials, headers }: RequestOptions,
): Environment {
  if (credentials === undefined && headers === undefined) return environment;
  const send: typeof fetch = (address, init) => {
    const own = typeof headers === "function" ? headers() : headers;
    return environment.fetch(address, {
      credentials,
      ...init,
      headers: { ...own, ...(init?.headers as Record<string, string> | undefined) },
    });
  };
  return { ...environment, fetch: send };
}
