/**
 * The page's one connection to a relay: which transport, when to try again, when to give up, how to climb back.
 *
 * Every transport lives once and is known by the object itself: what an old one still says after it was
 * replaced is dropped (`#isCurrent`). Runs and the list register as sinks and keep their own cursors, so whatever
 * transport comes next continues where the last one stopped.
 */

import type { BackoffOptions } from "./backoff.js";
import { BACKOFF, retryDelayMs } from "./backoff.js";
import { CloseCode, isTerminalCode } from "./codes.js";
import type { LinkEvent } from "./connection.js";
import { foldLink, IDLE } from "./connection.js";
import type { Environment } from "./environment.js";
import type { Frame } from "./frames.js";
import { climbDelayMs, nextTry } from "./ladder.js";
import { PageWatch } from "./pageWatch.js";
import type { FeedSink, RunSink } from "./sinks.js";
import { Sinks } from "./sinks.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";
import { broken } from "./transport.js";
import type { ConnectionState, TransportKind } from "./types.js";

export interface LinkOptions {
  readonly ladder: readonly TransportKind[];
  readonly backoff: BackoffOptions;
  /** A connection that held for so long resets the tries; after 4408 (too slow) it has to hold longer. */
  readonly healthyAfterMs: number;
  readonly healthyAfterSlowMs: number;
  /** Hidden for so long, the page lets go of its connection until it is seen again. */
  readonly pauseHiddenAfterMs: number;
}

export const LINK: LinkOptions = {
  ladder: ["websocket", "sse", "polling"],
  backoff: BACKOFF,
  healthyAfterMs: 10_000,
  healthyAfterSlowMs: 30_000,
  pauseHiddenAfterMs: 5 * 60_000,
};

/** Makes a transport; called again after 4401 with a renewed token. Throws when this environment has none such. */
export type Opener = (kind: TransportKind, token: string | null, events: TransportEvents) => Transport;
export type TokenSource = (renew: boolean) => Promise<string | null> | string | null;

const PROBE_MS = 5_000;
const OFFLINE_LOOK_MS = 15_000;
/** Between the last sink's leaving and closing: a React remount or a change of page must not reconnect. */
const LINGER_MS = 2_000;

type Timer = ReturnType<typeof setTimeout>;

export class Link {
  readonly #open: Opener;
  readonly #token: TokenSource;
  readonly #environment: Environment;
  readonly #options: LinkOptions;
  readonly #sinks = new Sinks();
  readonly #page: PageWatch;
  readonly #listeners = new Set<() => void>();
  #state: ConnectionState = IDLE;

  #current: Transport | null = null;
  /** A better transport on trial beside the current one. */
  #trial: Transport | null = null;
  #kind: TransportKind;
  #proven = false;
  #opening = 0; // counts openings: an answer of the token source for an older one is dropped
  #tries = 0;
  #climbs = 0;
  #wasProven = false;
  #renewed = false;
  #lastCode: number | null = null;
  #heardAt = 0;
  #due = 0;

  #retryTimer: Timer | undefined;
  #healthyTimer: Timer | undefined;
  #climbTimer: Timer | undefined;
  #lingerTimer: Timer | undefined;

  constructor(open: Opener, token: TokenSource, environment: Environment, options: LinkOptions = LINK) {
    this.#open = open;
    this.#token = token;
    this.#environment = environment;
    this.#options = options;
    this.#kind = options.ladder[0] ?? "polling";
    this.#page = new PageWatch(environment, options.pauseHiddenAfterMs, {
      onOnline: () => this.#onOnline(),
      onOffline: () => this.#onOffline(),
      onLongHidden: () => this.#pause(),
      onSeen: (hiddenMs) => this.#onSeen(hiddenMs),
      onLook: (now, slept) => this.#onLook(now, slept),
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  addRun(runId: string, sink: RunSink): void {
    this.#sinks.runs.set(runId, sink);
    if (!this.#wake()) this.#current?.subscribe(runId, sink.cursor());
  }

  removeRun(runId: string, sink: RunSink): void {
    if (this.#sinks.runs.get(runId) !== sink) return;
    this.#sinks.runs.delete(runId);
    this.#current?.unsubscribe(runId);
    this.#trial?.unsubscribe(runId);
    this.#lingerWhenUnused();
  }

  /** Ask again for everything after this run's cursor: something is missing. */
  resumeRun(runId: string): void {
    const sink = this.#sinks.runs.get(runId);
    if (sink === undefined || this.#current === null) return;
    this.#current.unsubscribe(runId);
    this.#current.subscribe(runId, sink.cursor());
  }

  addFeed(sink: FeedSink): void {
    this.#sinks.feeds.add(sink);
    if (!this.#wake() && this.#sinks.feeds.size === 1) this.#current?.subscribeFeed(true);
  }

  removeFeed(sink: FeedSink): void {
    if (!this.#sinks.feeds.delete(sink) || this.#sinks.feeds.size > 0) return;
    this.#current?.subscribeFeed(false);
    this.#lingerWhenUnused();
  }

  /** A person's retry: now, with all tries again, from the top. */
  retry(): void {
    if (this.#sinks.isEmpty || this.#state.status === "connected") return;
    this.#tries = 0;
    this.#renewed = false;
    this.#kind = this.#options.ladder[0] ?? "polling";
    this.#connect();
  }

  close(): void {
    this.#stop("idle");
    this.#page.stop();
    clearTimeout(this.#lingerTimer);
  }

  // --- opening -------------------------------------------------------------------------------------------------

  /** Whether this began to connect: what is watched is then subscribed with everything else. */
  #wake(): boolean {
    clearTimeout(this.#lingerTimer);
    this.#page.start();
    if (this.#state.status !== "idle") return false;
    // Who comes now has all tries, whatever was in vain before.
    this.#tries = 0;
    this.#renewed = false;
    this.#connect();
    return true;
  }

  #connect(quietly = false): void {
    this.#release();
    const opening = ++this.#opening;
    if (!quietly) this.#fold({ type: "opening", attempt: this.#tries });
    const token = this.#token(false);
    if (token === null || typeof token === "string") return this.#openCurrent(token);
    token.then(
      (value) => opening === this.#opening && this.#openCurrent(value),
      () => opening === this.#opening && this.#failed(broken("the token source failed")),
    );
  }

  #openCurrent(token: string | null): void {
    this.#proven = false;
    // Frames may come while the constructor runs (they don't in browsers, they do in tests): bind by a box.
    const box: { transport: Transport | null } = { transport: null };
    const isCurrent = () => box.transport !== null && this.#current === box.transport;
    try {
      box.transport = this.#open(
        this.#kind,
        token,
        this.#events(isCurrent, () => this.#onProven()),
      );
    } catch (error) {
      // No such transport here, or the page's policy forbids it: as good as refused.
      return this.#failed(broken(messageOf(error)));
    }
    this.#current = box.transport;
    this.#sinks.subscribeAll(box.transport);
  }

  #events(isCurrent: () => boolean, onProven: () => void): TransportEvents {
    return {
      onProven: () => isCurrent() && onProven(),
      onFrames: (frames) => isCurrent() && this.#deliver(frames),
      onAlive: () => {
        if (!isCurrent()) return;
        this.#heardAt = Date.now();
        this.#due = 0;
      },
      onLatency: (ms) => isCurrent() && this.#fold({ type: "latency", ms }),
      onMissed: () => {
        if (!isCurrent()) return;
        this.#due += 1;
        this.#fold({ type: "missed" });
      },
      onClose: (close) => isCurrent() && this.#failed(close),
    };
  }

  #onProven(): void {
    this.#proven = true;
    this.#heardAt = Date.now();
    this.#due = 0;
    this.#fold({ type: "proven", transport: this.#kind, now: this.#heardAt, again: this.#wasProven });
    this.#wasProven = true;
    // Not at once: a relay that accepts and drops would otherwise be knocked on without end.
    const healthyMs =
      this.#lastCode === CloseCode.TOO_SLOW ? this.#options.healthyAfterSlowMs : this.#options.healthyAfterMs;
    clearTimeout(this.#healthyTimer);
    this.#healthyTimer = setTimeout(() => {
      this.#tries = 0;
      this.#renewed = false;
      this.#lastCode = null;
    }, healthyMs);
    this.#planClimb();
  }

  // --- losing --------------------------------------------------------------------------------------------------

  #failed(close: TransportClose): void {
    const proven = this.#proven;
    this.#release();
    this.#lastCode = close.code;
    this.#fold({ type: "lost", error: { code: close.code, message: close.message } });
    // Refused for good: the same question would get the same answer.
    if (close.code !== null && isTerminalCode(close.code)) return this.#stop("closed");
    // The token is missing or has expired: one renewal, at once; a second refusal is an answer.
    if (close.code === CloseCode.UNAUTHORIZED) return this.#renew();
    // No network, and the link agrees: wait for the browser to say otherwise, spend no tries.
    if (!this.#environment.isOnline()) return this.#goOffline();
    if (this.#sinks.isEmpty) return this.#stop("idle");
    // A stream needs a run to stream; the list alone goes from the socket straight to polling.
    const ladder = this.#options.ladder.filter((kind) => kind !== "sse" || this.#sinks.runs.size > 0);
    // A server that says when to come back wants to be asked again, over the same transport.
    const next = nextTry(ladder, { kind: this.#kind, proven: proven || close.retryInMs !== null });
    this.#kind = next.kind;
    // Stepping down to something untried costs nothing and hardly waits.
    if (!next.counts) return this.#waitAndConnect(this.#options.backoff.minMs);
    this.#tries += 1;
    const { backoff } = this.#options;
    const delayMs = retryDelayMs(this.#tries, this.#environment.random(), backoff, close.retryInMs);
    // Ten in a row: from here on a person decides. Staying on without end would hide that nothing comes.
    if (delayMs === null) return this.#stop("failed");
    this.#waitAndConnect(delayMs);
  }

  /** The browser's word for it may be wrong (a relay on this very machine): look now and then, without a word. */
  #goOffline(): void {
    this.#stop("offline");
    this.#kind = this.#options.ladder[0] ?? "polling";
    this.#retryTimer = setTimeout(() => this.#connect(true), OFFLINE_LOOK_MS);
  }

  #waitAndConnect(delayMs: number): void {
    this.#fold({ type: "waiting", attempt: Math.max(1, this.#tries), inMs: delayMs, now: Date.now() });
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
  }

  #renew(): void {
    if (this.#renewed) return this.#stop("closed");
    this.#renewed = true;
    const opening = ++this.#opening;
    this.#fold({ type: "opening", attempt: Math.max(1, this.#tries) });
    Promise.resolve(this.#token(true)).then(
      (token) => {
        if (opening !== this.#opening) return;
        // No source to renew it from: the refusal stands.
        if (token === null) this.#stop("closed");
        else this.#openCurrent(token);
      },
      () => {
        if (opening !== this.#opening) return;
        // That is no answer yet: perhaps the network is away for the source, too.
        this.#renewed = false;
        this.#failed(broken("the token source failed"));
      },
    );
  }

  /** Let go of transports and timers; the state is the caller's. */
  #release(): void {
    this.#opening += 1;
    for (const timer of [this.#retryTimer, this.#healthyTimer, this.#climbTimer]) clearTimeout(timer);
    const current = this.#current;
    const trial = this.#trial;
    // Forgotten first, closed then: whatever closing sets off is no longer ours.
    this.#current = null;
    this.#trial = null;
    this.#proven = false;
    current?.close();
    trial?.close();
  }

  #stop(status: "idle" | "offline" | "paused" | "failed" | "closed"): void {
    this.#release();
    this.#fold({ type: "stopped", status });
  }

  // --- climbing ------------------------------------------------------------------------------------------------

  #planClimb(): void {
    clearTimeout(this.#climbTimer);
    if (this.#options.ladder.indexOf(this.#kind) <= 0) {
      this.#climbs = 0;
      return;
    }
    this.#climbTimer = setTimeout(() => this.#climb(), climbDelayMs(this.#climbs));
  }

  /** Try the better transports beside the current one, best first; nothing is given up before the other is proven. */
  #climb(candidates = this.#options.ladder.slice(0, this.#options.ladder.indexOf(this.#kind))): void {
    const kind = candidates.find((candidate) => candidate !== "sse" || this.#sinks.runs.size > 0);
    if (kind === undefined || this.#current === null || this.#trial !== null) {
      this.#climbs += 1;
      return this.#planClimb();
    }
    const rest = candidates.slice(candidates.indexOf(kind) + 1);
    const opening = this.#opening;
    Promise.resolve(this.#token(false)).then(
      (token) => opening === this.#opening && this.#startTrial(kind, token, rest),
      () => opening === this.#opening && this.#planClimb(),
    );
  }

  #startTrial(kind: TransportKind, token: string | null, rest: readonly TransportKind[]): void {
    const box: { transport: Transport | null } = { transport: null };
    const isOurs = () =>
      box.transport !== null && (this.#trial === box.transport || this.#current === box.transport);
    const events = this.#events(isOurs, () => this.#promote(kind));
    const giveUp = () => {
      this.#trial = null;
      this.#climb([...rest]);
    };
    try {
      box.transport = this.#open(kind, token, {
        ...events,
        onClose: (close) => {
          if (this.#trial === box.transport) giveUp();
          else events.onClose(close);
        },
      });
    } catch {
      return giveUp();
    }
    this.#trial = box.transport;
    // A stream proves itself only with a run; a socket's pong is enough, and its runs move over when it has proved.
    const first = this.#sinks.runs.entries().next().value;
    if (kind === "sse" && first !== undefined) box.transport.subscribe(first[0], first[1].cursor());
  }

  #promote(kind: TransportKind): void {
    if (this.#trial === null) return; // the current one's own proof goes through #onProven
    const old = this.#current;
    const better = this.#trial;
    this.#current = better;
    this.#trial = null;
    this.#kind = kind;
    this.#climbs = 0;
    old?.close();
    this.#onProven();
    // Same cursors: what both carried is dropped as a double, what neither carried is sent now.
    this.#sinks.subscribeAll(better);
  }

  // --- delivering ----------------------------------------------------------------------------------------------

  #deliver(frames: readonly Frame[]): void {
    for (const frame of this.#sinks.deliver(frames)) {
      if (frame.type === "upstream") this.#fold({ type: "upstream", status: frame.status });
      else if (frame.type === "error" && frame.runId !== null) {
        return this.#failed({ code: frame.code, message: frame.message, retryInMs: null });
      }
    }
  }

  // --- the page and the clock ----------------------------------------------------------------------------------

  #onOnline(): void {
    // A new network: whatever was waited for is moot, and a better transport may work here.
    this.#tries = 0;
    this.#climbs = 0;
    if (this.#state.status === "connected") {
      this.#current?.probe(PROBE_MS);
      this.#planClimb();
    } else if (this.#state.status !== "closed" && !this.#sinks.isEmpty) this.#connect();
  }

  #onOffline(): void {
    const { status } = this.#state;
    // The browser may be wrong (a relay on this machine, a VPN): ask before believing it.
    if (status === "connected") this.#current?.probe(PROBE_MS);
    else if (status === "connecting" || status === "reconnecting") this.#goOffline();
  }

  #pause(): void {
    const { status } = this.#state;
    if (status !== "idle" && status !== "closed" && status !== "failed") this.#stop("paused");
  }

  #onSeen(hiddenMs: number): void {
    const { status } = this.#state;
    // Somebody looks: don't let them wait out a long pause.
    const waits = status === "paused" || status === "reconnecting" || status === "offline";
    if (waits && !this.#sinks.isEmpty) this.#connect();
    else if (status === "connected" && hiddenMs > PROBE_MS) this.#current?.probe(PROBE_MS);
  }

  #onLook(now: number, slept: boolean): void {
    // Timers stood still, the other end has probably given us up. Ask, instead of waiting to find out.
    if (slept && this.#state.status === "connected") this.#current?.probe(PROBE_MS);
    this.#fold({ type: "looked", now, heardAt: this.#heardAt, due: this.#due });
  }

  #lingerWhenUnused(): void {
    if (!this.#sinks.isEmpty) return;
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = setTimeout(() => {
      this.#stop("idle");
      this.#page.stop();
    }, LINGER_MS);
  }

  #fold(event: LinkEvent): void {
    const next = foldLink(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    for (const listener of this.#listeners) listener();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
