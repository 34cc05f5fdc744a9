/**
 * Server-Sent Events: one EventSource for the run watched first, polling for the others.
 *
 * A browser allows six HTTP/1.1 connections to a host, and an EventSource keeps one for good: ten runs on ten
 * of them would stop the page. EventSource's own reconnecting is not used (it knows no backoff, no limit and no
 * other transport): on its first error it is closed, and the link decides.
 */

import { MESSAGE_TYPES } from "./codes.js";
import { relate, START } from "./cursor.js";
import type { Environment } from "./environment.js";
import type { Frame } from "./frames.js";
import { readFrame } from "./frames.js";
import { Liveness } from "./liveness.js";
import type { PollRequest } from "./polling.js";
import { PollLoop } from "./polling.js";
import { PollingTransport } from "./pollingTransport.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";
import { broken, UP } from "./transport.js";

/** EventSource.CLOSED */
const CLOSED = 2;
const BROKEN = broken("the event stream broke");
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
  #wantsFeed = false;
  #heard = false;
  #checkTimer: ReturnType<typeof setTimeout> | undefined;
  #check: PollLoop | null = null;
  #proven = false;
  #over = false;

  constructor(
    environment: Environment,
    events: TransportEvents,
    address: (runId: string, after: string | null) => string,
    requestOf: (runId: string) => PollRequest,
    cursorOf: (runId: string) => string | null,
    pingRelay: () => Promise<unknown>,
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
        // while there is a stream, its silence is what counts
        onAlive: () => this.#source === null && this.#alive(),
        onMissed: () => {},
        onClose: (close) => this.#ended(close),
      },
      requestOf,
      pingRelay,
    );
    this.#liveness = new Liveness(
      {
        ping: () => {},
        missed: () => {},
        dead: (why) => this.#ended(broken(why)),
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
    this.subscribeFeed(this.#wantsFeed);
  }

  /** There is no stream of the list: it polls (runList.ts). Without any stream, the link has to be asked about. */
  subscribeFeed(wanted: boolean): void {
    this.#wantsFeed = wanted;
    if (this.#runId === null) this.#others.subscribeFeed(wanted);
  }

  checkAlive(): void {
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
    let isOpen = false;
    source.onopen = () => {
      isOpen = true;
      this.#alive();
      // With a cursor and nothing missed a healthy stream is silent until the heartbeat: look once, don't trust.
      this.#checkTimer = setTimeout(() => this.#verify(), CHECK_AFTER_MS);
    };
    for (const name of [...MESSAGE_TYPES, "heartbeat"]) {
      source.addEventListener(name, (event) => this.#received(name, event as MessageEvent<unknown>));
    }
    source.onerror = (event) => {
      // Our server's `event: error` comes through the same door as the browser's, but has data.
      if (event instanceof MessageEvent) return;
      // Refused in HTTP's words: with 204, for there is nothing more to come? A poll tells.
      if (source.readyState === CLOSED && !isOpen) this.#verify(true);
      else this.#ended(BROKEN);
    };
  }

  #received(name: string, event: MessageEvent<unknown>): void {
    if (this.#over || this.#source === null) return;
    if (typeof event.data !== "string") return; // the browser's own error event
    this.#alive();
    const isFirst = !this.#heard && name !== "heartbeat";
    this.#heard = true;
    if (name !== "upstream") this.#stopCheck();
    // The event's name says that it is the end, and the stream whose: the relay puts nothing into it.
    const isEnd = name === "end" && this.#runId !== null;
    const frame: Frame | null = isEnd ? { type: "end", runId: this.#runId ?? "" } : readFrame(event.data);
    if (isEnd) this.#closeSource(); // or EventSource would come back by itself
    if (frame === null) return;
    if (isFirst && frame.type !== "upstream") this.#events.onFrames([UP]);
    this.#events.onFrames([frame]);
  }

  /** One poll: if it brings what the stream did not, the stream is being held back and is given up. */
  #verify(isRefused = false): void {
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
          if (late) this.#ended(broken("the event stream is held back on its way"));
          else if (isRefused && frames.some((frame) => frame.type === "end")) this.#alive();
          else if (isRefused) this.#ended(BROKEN);
        },
        onClose: () => this.#ended(BROKEN),
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
    clearTimeout(this.#checkTimer);
    this.#checkTimer = undefined;
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
