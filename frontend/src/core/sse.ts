/**
 * Server-Sent Events: one stream for the run watched first, polling for the others.
 *
 * A browser has six HTTP/1.1 connections to a host, and each stream uses one: six streams would block the page.
 * The transport does not reconnect by itself. When its stream ends it closes, and the connection decides.
 */

import { isTerminalCode } from "./codes.js";
import { relate, START } from "./cursor.js";
import type { Environment } from "./environment.js";
import type { EventStreamOpener } from "./eventStream.js";
import { eventStreams } from "./eventStream.js";
import type { Frame } from "./frames.js";
import { readFrame } from "./frames.js";
import { Liveness } from "./liveness.js";
import type { PollRequest } from "./polling.js";
import { PollLoop } from "./polling.js";
import { PollingTransport } from "./pollingTransport.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";
import { broken, UP } from "./transport.js";

/** After this time without an event, an open stream is checked by a poll: a proxy may hold the stream back. */
const CHECK_AFTER_MS = 5_000;

export class SseTransport implements Transport {
  readonly kind = "sse";
  readonly #environment: Environment;
  readonly #events: TransportEvents;
  readonly #openStream: EventStreamOpener;
  readonly #address: (runId: string, after: string | null) => string;
  readonly #requestOf: (runId: string) => PollRequest;
  readonly #cursorOf: (runId: string) => string | null;
  readonly #others: PollingTransport;
  readonly #liveness: Liveness;
  /** Closes the stream that is open. */
  #closeOpen: (() => void) | null = null;
  #runId: string | null = null;
  #wantsFeed = false;
  #hasReceived = false;
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
    if (environment.eventStream === undefined) throw new Error("this environment cannot read streams");
    const { eventStream } = environment;
    this.#openStream = eventStream === "fetch" ? eventStreams(environment.fetch) : eventStream;
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
        // while a stream is open, only the stream shows whether the peer is alive
        onAlive: () => this.#closeOpen === null && this.#alive(),
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
    this.#closeStream();
    this.#runId = null;
    this.subscribeFeed(this.#wantsFeed);
  }

  /** There is no stream of the list: the list polls (runList.ts). Without any stream, the relay is pinged. */
  subscribeFeed(wanted: boolean): void {
    this.#wantsFeed = wanted;
    if (this.#runId === null) this.#others.subscribeFeed(wanted);
  }

  checkAlive(): void {
    // The client cannot send over a stream. A poll beside it shows whether the relay is there, and catches up.
    if (this.#runId !== null) this.#verify();
  }

  close(): void {
    this.#over = true;
    this.#liveness.stop();
    this.#closeStream();
    this.#others.close();
  }

  #open(runId: string, after: string | null): void {
    this.#closeStream();
    this.#runId = runId;
    this.#hasReceived = false;
    this.#closeOpen = this.#openStream(this.#address(runId, after), this.#requestOf(runId).headers, {
      onOpen: () => {
        this.#alive();
        // With a cursor and no missed event, a healthy stream is silent until the heartbeat: check it once.
        this.#checkTimer = setTimeout(() => this.#verify(), CHECK_AFTER_MS);
      },
      onEvent: (name, data) => this.#received(name, data),
      onEnd: (end) => this.#streamEnded(runId, end),
    });
  }

  #received(name: string, data: string): void {
    this.#alive();
    const isFirst = !this.#hasReceived && name !== "heartbeat";
    this.#hasReceived = true;
    if (name !== "upstream") this.#stopCheck();
    // An `end` event of other relays may have no data: the event's name says that it is the end, the stream says of
    // which run.
    const isEnd = name === "end" && this.#runId !== null;
    const frame: Frame | null = isEnd ? { type: "end", runId: this.#runId ?? "" } : readFrame(data);
    if (isEnd) this.#closeStream();
    if (frame === null) return;
    if (isFirst && frame.type !== "upstream") this.#events.onFrames([UP]);
    this.#events.onFrames([frame]);
  }

  #streamEnded(runId: string, end: TransportClose | null): void {
    const isRefusal = end !== null && end.code !== null && isTerminalCode(end.code);
    if (end !== null && !isRefusal) return this.#ended(end);
    // The run has ended, or it was refused by a terminal code. The relay is there.
    this.#closeStream();
    this.#alive();
    const about = { message: end?.message ?? "", code: end?.code ?? 0, runId };
    this.#events.onFrames([isRefusal ? { type: "error", ...about } : { type: "end", runId }]);
  }

  /** One poll. If it brings an event that the stream did not, a proxy holds the stream back: close the transport. */
  #verify(): void {
    this.#stopCheck();
    const runId = this.#runId;
    if (runId === null || this.#over) return;
    const open = this.#closeOpen;
    this.#check = new PollLoop(
      runId,
      this.#cursorOf(runId),
      this.#requestOf(runId),
      this.#environment,
      () => false,
      {
        onAnswer: (frames) => {
          this.#check?.stop();
          if (this.#over || open !== this.#closeOpen) return;
          // Compare before the frames are folded in: afterwards every event counts as seen.
          const late = frames.some((frame) => this.#isNews(runId, frame));
          this.#events.onFrames(frames);
          if (late) this.#ended(broken("the event stream is held back on its way"));
        },
        onClose: (close) => this.#ended(close),
      },
    );
    this.#check.start();
  }

  #isNews(runId: string, frame: Frame): boolean {
    if (frame.type === "initial_state") return !this.#hasReceived;
    if (frame.type !== "progress") return false;
    return relate(this.#cursorOf(runId) ?? START, frame.event.cursor) !== "seen";
  }

  #alive(): void {
    if (this.#over) return;
    this.#liveness.received(false);
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

  #closeStream(): void {
    this.#stopCheck();
    this.#closeOpen?.();
    this.#closeOpen = null;
  }

  #ended(close: TransportClose): void {
    if (this.#over) return;
    this.close();
    this.#events.onClose(close);
  }
}
