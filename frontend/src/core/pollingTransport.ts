/** Polling as a transport: one loop for each run. The first answer proves it. */

import { isTerminalCode } from "./codes.js";
import type { Environment } from "./environment.js";
import type { PollRequest } from "./polling.js";
import { closeOf, PollLoop } from "./polling.js";
import { isUpstreamDown } from "./problem.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";
import { PING_EVERY_MS } from "./transport.js";

/** With more runs than this no request is held: all runs are polled every two seconds. */
const MAX_HELD = 2;

export class PollingTransport implements Transport {
  readonly kind = "polling";
  readonly #environment: Environment;
  readonly #events: TransportEvents;
  readonly #requestOf: (runId: string) => PollRequest;
  readonly #loops = new Map<string, PollLoop>();
  /** A request that shows whether the relay is there, for when no run is watched. */
  readonly #pingRelay: () => Promise<unknown>;
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  #proven = false;
  #over = false;

  constructor(
    environment: Environment,
    events: TransportEvents,
    requestOf: (runId: string) => PollRequest,
    pingRelay: () => Promise<unknown>,
  ) {
    this.#environment = environment;
    this.#events = events;
    this.#requestOf = requestOf;
    this.#pingRelay = pingRelay;
  }

  subscribe(runId: string, after: string | null): void {
    this.unsubscribe(runId);
    const loop = new PollLoop(
      runId,
      after,
      this.#requestOf(runId),
      this.#environment,
      () => this.#loops.size <= MAX_HELD,
      {
        onAnswer: (frames, tookMs) => {
          this.#alive();
          if (tookMs !== null) this.#events.onLatency(tookMs);
          if (frames.length > 0) this.#events.onFrames(frames);
        },
        onClose: (close) => this.#loopClosed(runId, close),
      },
    );
    this.#loops.set(runId, loop);
    loop.start();
  }

  unsubscribe(runId: string): void {
    this.#loops.get(runId)?.stop();
    this.#loops.delete(runId);
  }

  /** The list polls by itself (runList.ts). Here it only needs pings, to know that the relay is there. */
  subscribeFeed(wanted: boolean): void {
    if (!wanted || this.#over) return;
    const pingRelay = () => this.#loops.size === 0 && this.checkAlive();
    this.#pingTimer ??= setInterval(pingRelay, PING_EVERY_MS);
    pingRelay();
  }

  checkAlive(): void {
    if (this.#over) return;
    const loop = this.#loops.values().next().value;
    if (loop !== undefined) return loop.hurry();
    const begunAt = Date.now();
    const answered = (status: "up" | "down") => {
      if (this.#over) return;
      this.#alive();
      this.#events.onLatency(Date.now() - begunAt);
      this.#events.onFrames([{ type: "upstream", status }]);
    };
    this.#pingRelay().then(
      () => answered("up"),
      (error: unknown) => (isUpstreamDown(error) ? answered("down") : this.#ended(closeOf(error))),
    );
  }

  close(): void {
    this.#over = true;
    clearInterval(this.#pingTimer);
    for (const loop of this.#loops.values()) loop.stop();
    this.#loops.clear();
  }

  #loopClosed(runId: string, close: TransportClose): void {
    // A refusal is about this run, not about the connection.
    if (close.code !== null && isTerminalCode(close.code)) {
      this.#loops.delete(runId);
      this.#alive();
      this.#events.onFrames([{ type: "error", code: close.code, message: close.message, runId }]);
    } else this.#ended(close);
  }

  #alive(): void {
    if (this.#over) return;
    if (!this.#proven) {
      this.#proven = true;
      this.#events.onProven();
    }
    this.#events.onAlive();
  }

  #ended(close: TransportClose): void {
    if (this.#over) return;
    this.close();
    this.#events.onClose(close);
  }
}
