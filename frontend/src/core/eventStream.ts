/**
 * A stream of Server-Sent Events over fetch. The browser's EventSource cannot send a token in a header, and it does not
 * tell an end from a refusal (204, 401, 429 with Retry-After).
 */

import { closeOf } from "./polling.js";
import { notARelay, problemOf } from "./problem.js";
import type { TransportClose } from "./transport.js";
import { broken } from "./transport.js";

export interface EventStreamEvents {
  onOpen(): void;
  onEvent(name: string, data: string): void;
  /**
   * The stream has ended. Null: the answer was 204, the cursor is the run's end. Not called after the client closed it.
   */
  onEnd(end: TransportClose | null): void;
}

/** Opens a stream. Returns the function that closes it; no event is called after that. */
export type EventStreamOpener = (
  url: string,
  headers: Readonly<Record<string, string>>,
  events: EventStreamEvents,
) => () => void;

/** The opener that uses `send`, a fetch. */
export function eventStreams(send: typeof fetch): EventStreamOpener {
  return (url, headers, events) => {
    const owner = new AbortController();
    const { signal } = owner;
    read(send, url, { headers, cache: "no-store", signal }, events)
      .catch(() => broken("the event stream broke"))
      .then((end) => signal.aborted || events.onEnd(end));
    return () => owner.abort();
  };
}

async function read(
  send: typeof fetch,
  url: string,
  request: RequestInit,
  events: EventStreamEvents,
): Promise<TransportClose | null> {
  // The parser is loaded with the first stream: a page whose WebSocket works never needs it.
  const [response, { createParser }] = await Promise.all([send(url, request), import("eventsource-parser")]);
  if (response.status === 204) return null;
  if (!response.ok) return closeOf(await problemOf(response));
  if (!response.headers.get("content-type")?.startsWith("text/event-stream"))
    return closeOf(notARelay(response));
  events.onOpen();
  const parser = createParser({
    onEvent: ({ event = "message", data }) => request.signal?.aborted || events.onEvent(event, data),
  });
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  for (;;) {
    const piece = await reader?.read();
    if (!piece || piece.done) return broken("the event stream ended");
    parser.feed(decoder.decode(piece.value, { stream: true }));
  }
}
