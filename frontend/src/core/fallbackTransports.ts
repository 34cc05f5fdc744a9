/**
 * The transports that are used when a WebSocket cannot be. They are a module of their own, which is loaded when the
 * first of them is opened: most pages never need it.
 */

import type { PollRequest } from "./polling.js";
import { PollingTransport } from "./pollingTransport.js";
import { SseTransport } from "./sse.js";
import type { Transport, TransportEvents } from "./transport.js";
import type { TransportContext } from "./transports.js";

/** Throws where a response cannot be read in pieces. */
export function openSse(context: TransportContext, events: TransportEvents): Transport {
  const { environment, urls, cursorOf, pingRelay } = context;
  const address = (runId: string, after: string | null) => urls.http(`${urls.run(runId)}/events`, { after });
  return new SseTransport(environment, events, address, pollOf(context), cursorOf, pingRelay);
}

export function openPolling(context: TransportContext, events: TransportEvents): Transport {
  return new PollingTransport(context.environment, events, pollOf(context), context.pingRelay);
}

function pollOf({ urls, token }: TransportContext): (runId: string) => PollRequest {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  return (runId) => ({ address: (query) => urls.http(urls.run(runId), query), headers });
}
