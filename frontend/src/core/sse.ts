/**
 * Server-Sent Events: one EventSource for the run watched first, polling for the others.
 *
 * A browser allows six HTTP/1.1 connections to a host, and an EventSource keeps one for good: ten runs on ten
 * of them would stop the page. EventSource's own reconnecting is not used (it knows no backoff, no limit and no
 * other transport): on its first error it is closed, and the link decides.
 */

import { relate, START } from "./cursor.js";
import type { Environment } from "./environment.js";
import type { Frame } from "./frames.js";
import { readFrame } from "./frames.js";
import { Liveness } from "./liveness.js";
import type { PollRequest } from "./polling.js";
import { PollLoop } from "./polling.js";
import { PollingTransport } from "./pollingTransport.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";

const EVENTS = [
  "initial_state",
  "progress",
  "resumed",
  "upstream",
  "stale",
  "end",
  "heartbeat",
  "error",
] as const;
/** A stream from which nothing came for so long after it opened is checked by a poll: a proxy may hold it back. */
const CHECK_AFTER_MS = 5_000;

export class SseTransport implements Transport {
  readonly kind = "sse";
  readonly #environment: Environment;
  readonly #events: TransportEvents;
  readonly #Source: typeof EventSource;
  readonly #address: (runId: string, after: string | null) => string;
  readonly #requestOf: (runId: string) => PollRequest;
  readonly #cursorOf: (runId: string) => string | null;
  readonly #others: PollingTransport;
  readonly #liveness: Liveness;
  #source: EventSource | null = null;
  #runId: string | null = null;
  #heard = false;
  #checkTimer: ReturnType<typeof setTimeout> | null = null;
  #check: PollLoop | null = null;
  #proven = false;
  #over = false;

  constructor(
    environment: Environment,
    events: TransportEvents,
    address: (runId: string, after: string | null) => string,
    requestOf: (runId: string) => PollRequest,
    cursorOf: (runId: string) => string | null,
    knock: () => Promise<unknown>,
  ) {
    if (environment.EventSource === undefined) throw new Error("this environment has no EventSource");
    this.#Source = environment.EventSource;
    this.#cursorOf = cursorOf;
    this.#environment = environment;
    this.#address = address;
    this.#requestOf = requestOf;
    this.#events = events;
    this.#others = new PollingTransport(
      environment,
      {
        ...events,
        onProven: () => {},
        onFrames: (frames) => this.#events.onFrames(frames),
        onLatency: (ms) => this.#events.onLatency(ms),
        onAlive: () => {},
        onMissed: () => {},
        onClose: (close) => this.#ended(close),
      },
      requestOf,
      knock,
    );
    this.#liveness = new Liveness(
      {
        ping: () => {},
        missed: () => {},
        dead: (why) => this.#ended({ code: null, message: why, retryInMs: null }),
      },
      Number.POSITIVE_INFINITY,
    );
  }

  subscribe(runId: string, after: string | null): void {
    if (this.#runId !== null && this.#runId !== runId) return this.#others.subscribe(runId, after);
    this.#open(runId, after);
  }

  unsubscribe(runId: string): void {
    if (this.#runId !== runId) return this.#others.unsubscribe(runId);
    this.#closeSource();
    this.#runId = null;
  }

  subscribeFeed(): void {
    // There is no stream of the list: it polls (runList.ts).
  }

  probe(): void {
    // Nothing can be asked over a stream; a poll beside it finds out, and catches up.
    if (this.#runId !== null) this.#verify();
  }

  close(): void {
    this.#over = true;
    this.#liveness.stop();
    this.#closeSource();
    this.#others.close();
  }

  #open(runId: string, after: string | null): void {
    this.#closeSource();
    this.#runId = runId;
    this.#heard = false;
    const source = new this.#Source(this.#address(runId, after));
    this.#source = source;
    source.onopen = () => {
      this.#alive();
      // With a cursor and nothing missed a healthy stream is silent until the heartbeat: look once, don't trust.
      this.#checkTimer = setTimeout(() => this.#verify(), CHECK_AFTER_MS);
    };
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => this.#received(name, event as MessageEvent<unknown>));
    }
    source.onerror = (event) => {
      // Our server's `event: error` comes through the same door as the browser's, but has data.
      if (event instanceof MessageEvent) return;
      // 204 ends the stream for good without an `end`: the poll that the link falls back to says how it ended.
      this.#ended({ code: null, message: "the event stream broke", retryInMs: null });
    };
  }

  #received(name: string, event: MessageEvent<unknown>): void {
    if (this.#over || this.#source === null) return;
    if (typeof event.data !== "string") return; // the browser's own error event
    this.#alive();
    this.#heard = true;
    if (name !== "upstream") this.#stopCheck();
    const frame = name === "heartbeat" ? null : readFrame(event.data);
    if (frame === null) return;
    if ("runId" in frame && frame.runId === "")
      this.#events.onFrames([{ ...frame, runId: this.#runId ?? "" } as Frame]);
    else this.#events.onFrames([frame]);
    if (frame.type === "end") this.#closeSource(); // or EventSource would come back by itself
  }

  /** One poll: if it brings what the stream did not, the stream is being held back and is given up. */
  #verify(): void {
    this.#stopCheck();
    const runId = this.#runId;
    if (runId === null || this.#over) return;
    const source = this.#source;
    this.#check = new PollLoop(
      runId,
      this.#cursorOf(runId),
      this.#requestOf(runId),
      this.#environment,
      () => false,
      {
        onAnswer: (frames) => {
          this.#check?.stop();
          if (this.#over || source !== this.#source) return;
          // Looked at before the frames are folded in: afterwards everything has been seen.
          const late = frames.some((frame) => this.#isNews(runId, frame));
          this.#events.onFrames(frames);
          if (late)
            this.#ended({ code: null, message: "the event stream is held back on its way", retryInMs: null });
        },
        onClose: (close) => this.#ended(close),
      },
    );
    this.#check.start();
  }

  #isNews(runId: string, frame: Frame): boolean {
    if (frame.type === "initial_state") return !this.#heard;
    if (frame.type !== "progress") return false;
    return relate(this.#cursorOf(runId) ?? START, frame.event.cursor) !== "seen";
  }

  #alive(): void {
    if (this.#over) return;
    this.#liveness.heard(false);
    if (!this.#proven) {
      this.#proven = true;
      this.#events.onProven();
    }
    this.#events.onAlive();
  }

  #stopCheck(): void {
    if (this.#checkTimer !== null) clearTimeout(this.#checkTimer);
    this.#checkTimer = null;
    this.#check?.stop();
    this.#check = null;
  }

  #closeSource(): void {
    this.#stopCheck();
    this.#source?.close();
    this.#source = null;
  }

  #ended(close: TransportClose): void {
    if (this.#over) return;
    this.close();
    this.#events.onClose(close);
  }
}
