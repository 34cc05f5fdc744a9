/** What the client needs of the browser, in one place, so that it can be imported (and tested) without a window. */

import type { EventStreamOpener } from "./eventStream.js";
import { eventStreams } from "./eventStream.js";

export type PageSignal = "online" | "offline" | "hidden" | "visible";

export interface Environment {
  readonly WebSocket: typeof WebSocket | undefined;
  /** Opens a stream of server-sent events; undefined where responses cannot be read piece by piece. */
  readonly eventStream: EventStreamOpener | undefined;
  readonly fetch: typeof fetch;
  /** 0..1, for jitter. */
  readonly random: () => number;
  /** The page's own origin, which a missing `baseUrl` means; null without a page. */
  readonly origin: string | null;
  /** Whether the page is hidden now. */
  readonly isHidden: () => boolean;
  readonly isOnline: () => boolean;
  /** Calls back on every signal until the returned function is called. */
  readonly onSignal: (listener: (signal: PageSignal) => void) => () => void;
}

/** The environment of this page (or of a server: everything is looked up when it is needed, never at import). */
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
