/** A transport whose code is loaded when it is opened. What it is asked meanwhile it does when it is there, in order. */

import type { Transport, TransportEvents } from "./transport.js";
import { broken } from "./transport.js";
import type { TransportKind } from "./types.js";

/** If its code cannot be loaded, or `open` throws, it closes like a connection that broke. */
export function lazyTransport(
  kind: TransportKind,
  events: TransportEvents,
  open: () => Promise<Transport>,
): Transport {
  let isOver = false;
  let transport: Transport | null = null;
  const waiting: ((opened: Transport) => void)[] = [];
  const act = (action: (opened: Transport) => void) => {
    if (transport === null) waiting.push(action);
    else action(transport);
  };
  open()
    .then((opened) => {
      if (isOver) return opened.close();
      transport = opened;
      for (const action of waiting) action(opened);
    })
    .catch((error: unknown) => isOver || events.onClose(broken(String(error))));
  return {
    kind,
    subscribe: (runId, after) => act((opened) => opened.subscribe(runId, after)),
    unsubscribe: (runId) => act((opened) => opened.unsubscribe(runId)),
    subscribeFeed: (wanted) => act((opened) => opened.subscribeFeed(wanted)),
    checkAlive: (deadlineMs) => act((opened) => opened.checkAlive(deadlineMs)),
    close: () => {
      isOver = true;
      transport?.close();
    },
  };
}
