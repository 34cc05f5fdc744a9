/**
 * Everything that the client uses of the browser. It is passed in, so the client can be imported and tested without a
 * window.
 */

import type { EventStreamOpener } from "./eventStream.js";
import { eventStreams } from "./eventStream.js";

export type PageSignal = "online" | "offline" | "hidden" | "visible";

export interface Environment {
  readonly WebSocket: typeof WebSocket | undefined;
  /** Opens a stream of Server-Sent Events; undefined where a response cannot be read in pieces. */
  readonly eventStream: EventStreamOpener | undefined;
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
    eventStream: typeof ReadableStream === "undefined" ? undefined : eventStreams(send),
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
