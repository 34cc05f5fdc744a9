/** The registry of transports. A new transport is named here, and its kind in types.ts. */

import type { Environment } from "./environment.js";
import { lazyTransport } from "./lazyTransport.js";
import type { Transport, TransportEvents } from "./transport.js";
import type { TransportKind } from "./types.js";
import type { RelayUrls } from "./urls.js";
import { WebSocketTransport } from "./websocket.js";

/** What a transport is opened with. */
export interface TransportContext {
  readonly environment: Environment;
  readonly urls: RelayUrls;
  readonly token: string | null;
  readonly cursorOf: (runId: string) => string | null;
  /** Sends any request to the relay, to know that it is there. */
  readonly pingRelay: () => Promise<unknown>;
}

interface TransportSpec {
  /**
   * True for a transport that streams single runs: it is used only while a run is watched, and proven only by a run.
   */
  readonly needsRun: boolean;
  /** Throws, or closes, when this environment has no such transport. */
  create(context: TransportContext, events: TransportEvents): Transport;
}

const TRANSPORTS: Readonly<Record<TransportKind, TransportSpec>> = {
  websocket: {
    needsRun: false,
    // A browser's WebSocket cannot send headers, so the token is in the address.
    create: ({ urls, token, environment }, events) =>
      new WebSocketTransport(urls.ws("/ws", { token }), environment, events),
  },
  sse: {
    needsRun: true,
    create: (context, events) =>
      loaded?.openSse(context, events) ??
      lazyTransport("sse", events, async () => (await loadFallbacks()).openSse(context, events)),
  },
  polling: {
    needsRun: false,
    create: (context, events) =>
      loaded?.openPolling(context, events) ??
      lazyTransport("polling", events, async () => (await loadFallbacks()).openPolling(context, events)),
  },
};

let loaded: typeof import("./fallbackTransports.js") | undefined;

/** Load the transports that are used when a WebSocket cannot be. */
export async function loadFallbacks(): Promise<typeof import("./fallbackTransports.js")> {
  loaded = await import("./fallbackTransports.js");
  return loaded;
}

export function needsRun(kind: TransportKind): boolean {
  return TRANSPORTS[kind].needsRun;
}

export function openTransport(
  kind: TransportKind,
  context: TransportContext,
  events: TransportEvents,
): Transport {
  return TRANSPORTS[kind].create(context, events);
}
