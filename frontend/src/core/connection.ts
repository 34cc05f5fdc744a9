/**
 * The page's one connection to a relay. It decides which transport is used, when to reconnect and when to give up.
 * (upgrade.ts finds the way back to a better transport.)
 *
 * A transport object is used once and never reopened. Events of a replaced transport are dropped, because it is no
 * longer `#current`. Runs and lists subscribe here and keep their own cursors: the next transport continues where the
 * last one stopped.
 */

import { retryDelayMs } from "./backoff.js";
import { CloseCode, isTerminalCode } from "./codes.js";
import type { ConnectionOptions, Opener, TokenSource } from "./connectionOptions.js";
import { CONNECTION_DEFAULTS } from "./connectionOptions.js";
import type { ConnectionEvent } from "./connectionState.js";
import { foldConnection, IDLE } from "./connectionState.js";
import type { Environment } from "./environment.js";
import { nextTransport } from "./fallback.js";
import type { Frame } from "./frames.js";
import { PageLifecycle } from "./pageLifecycle.js";
import { Subscribable } from "./subscribable.js";
import type { FeedListener, RunSubscription } from "./subscriptions.js";
import { Subscriptions } from "./subscriptions.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";
import { broken } from "./transport.js";
import { needsRun } from "./transports.js";
import type { ConnectionState, TransportKind } from "./types.js";
import type { ProbeEvents } from "./upgrade.js";
import { Upgrade } from "./upgrade.js";

const ALIVE_CHECK_MS = 5_000;
const OFFLINE_RETRY_MS = 15_000;
/** The wait between the last unsubscribe and the close: a React remount or a change of page must not reconnect. */
const LINGER_MS = 2_000;

type Timer = ReturnType<typeof setTimeout>;

export class Connection extends Subscribable {
  readonly #open: Opener;
  readonly #token: TokenSource;
  readonly #environment: Environment;
  readonly #options: ConnectionOptions;
  readonly #subscriptions = new Subscriptions();
  readonly #page: PageLifecycle;
  readonly #upgrade: Upgrade;
  #state: ConnectionState = IDLE;

  #current: Transport | null = null;
  #kind: TransportKind;
  #proven = false;
  #opening = 0; // number of the current opening: a token that was requested for an older one is dropped
  #tries = 0;
  #wasProven = false;
  #renewed = false;
  #lastCode: number | null = null;
  #receivedAt = 0;
  #due = 0;

  #retryTimer: Timer | undefined;
  #healthyTimer: Timer | undefined;
  #lingerTimer: Timer | undefined;

  constructor(
    open: Opener,
    token: TokenSource,
    environment: Environment,
    options: ConnectionOptions = CONNECTION_DEFAULTS,
  ) {
    super();
    this.#open = open;
    this.#token = token;
    this.#environment = environment;
    this.#options = options;
    this.#kind = options.transports[0] ?? "polling";
    this.#page = new PageLifecycle(environment, options.pauseHiddenAfterMs, {
      onOnline: () => this.#onOnline(),
      onOffline: () => this.#onOffline(),
      onLongHidden: () => this.#pause(),
      onSeen: (hiddenMs) => this.#onSeen(hiddenMs),
      onTick: (now, slept) => this.#onTick(now, slept),
    });
    this.#upgrade = new Upgrade({
      candidates: () => this.#usable(options.transports.slice(0, options.transports.indexOf(this.#kind))),
      token: () => this.#token(false),
      openProbe: (kind, token_, probe) => this.#openProbe(kind, token_, probe),
      onUpgraded: (kind, transport) => this.#onUpgraded(kind, transport),
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  addRun(runId: string, subscription: RunSubscription): void {
    this.#subscriptions.runs.set(runId, subscription);
    if (!this.#wake()) this.#current?.subscribe(runId, subscription.cursor());
  }

  removeRun(runId: string, subscription: RunSubscription): void {
    if (this.#subscriptions.runs.get(runId) !== subscription) return;
    this.#subscriptions.runs.delete(runId);
    this.#current?.unsubscribe(runId);
    this.#upgrade.unsubscribe(runId);
    this.#lingerWhenUnused();
  }

  /** Request everything after this run's cursor again: the client has found a gap. */
  resumeRun(runId: string): void {
    const subscription = this.#subscriptions.runs.get(runId);
    if (subscription === undefined || this.#current === null) return;
    this.#current.unsubscribe(runId);
    this.#current.subscribe(runId, subscription.cursor());
  }

  addFeed(listener: FeedListener): void {
    this.#subscriptions.feeds.add(listener);
    if (!this.#wake() && this.#subscriptions.feeds.size === 1) this.#current?.subscribeFeed(true);
  }

  removeFeed(listener: FeedListener): void {
    if (!this.#subscriptions.feeds.delete(listener) || this.#subscriptions.feeds.size > 0) return;
    this.#current?.subscribeFeed(false);
    this.#lingerWhenUnused();
  }

  /** A person's retry: connect now, over the best transport, with all retries left. */
  retry(): void {
    if (this.#subscriptions.isEmpty || this.#state.status === "connected") return;
    this.#tries = 0;
    this.#renewed = false;
    this.#kind = this.#options.transports[0] ?? "polling";
    this.#connect();
  }

  close(): void {
    this.#stop("idle");
    this.#page.stop();
    clearTimeout(this.#lingerTimer);
  }

  // --- opening -------------------------------------------------------------------------------------------------

  /** Connect if the connection is idle. Returns whether it did: then `#openCurrent` subscribes everything. */
  #wake(): boolean {
    clearTimeout(this.#lingerTimer);
    this.#page.start();
    if (this.#state.status !== "idle") return false;
    // A new subscriber resets the retry count.
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
    // A box, because a transport may send events while its constructor runs (in tests; a browser does not).
    const box: { transport: Transport | null } = { transport: null };
    const isCurrent = () => box.transport !== null && this.#current === box.transport;
    try {
      box.transport = this.#open(
        this.#kind,
        token,
        this.#events(isCurrent, () => this.#onProven()),
      );
    } catch (error) {
      // This environment has no such transport, or the page's security policy forbids it: the same as a refusal.
      return this.#failed(broken(error instanceof Error ? error.message : String(error)));
    }
    this.#current = box.transport;
    this.#subscriptions.subscribeAll(box.transport);
  }

  #events(isCurrent: () => boolean, onProven: () => void): TransportEvents {
    return {
      onProven: () => isCurrent() && onProven(),
      onFrames: (frames) => isCurrent() && this.#deliver(frames),
      onAlive: () => {
        if (!isCurrent()) return;
        this.#receivedAt = Date.now();
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
    this.#receivedAt = Date.now();
    this.#due = 0;
    this.#fold({ type: "proven", transport: this.#kind, now: this.#receivedAt, again: this.#wasProven });
    this.#wasProven = true;
    // The retry count is not reset at once: a relay that accepts and then drops would be reconnected to in a loop.
    const healthyMs =
      this.#lastCode === CloseCode.TOO_SLOW ? this.#options.healthyAfterSlowMs : this.#options.healthyAfterMs;
    clearTimeout(this.#healthyTimer);
    this.#healthyTimer = setTimeout(() => {
      this.#tries = 0;
      this.#renewed = false;
      this.#lastCode = null;
    }, healthyMs);
    this.#upgrade.plan();
  }

  // --- losing --------------------------------------------------------------------------------------------------

  #failed(close: TransportClose): void {
    const proven = this.#proven;
    this.#release();
    this.#lastCode = close.code;
    this.#fold({ type: "lost", error: { code: close.code, message: close.message } });
    // A terminal code: a retry would get the same answer.
    if (close.code !== null && isTerminalCode(close.code)) return this.#stop("closed");
    // The token is missing or has expired: renew it once, without a wait. A second refusal is final.
    if (close.code === CloseCode.UNAUTHORIZED) return this.#renew();
    // The browser is offline, and the connection did break: wait for the "online" signal. No retry is counted.
    if (!this.#environment.isOnline()) return this.#goOffline();
    if (this.#subscriptions.isEmpty) return this.#stop("idle");
    const transports = this.#usable(this.#options.transports);
    // A close with `retry_in_ms` came from the relay itself, so this transport works: use it again.
    const next = nextTransport(transports, { kind: this.#kind, proven: proven || close.retryInMs !== null });
    this.#kind = next.kind;
    // A fallback to a transport that was not tried yet is not counted as a retry and hardly waits.
    if (!next.counts) return this.#waitAndConnect(this.#options.backoff.minMs);
    this.#tries += 1;
    const { backoff } = this.#options;
    const delayMs = retryDelayMs(this.#tries, this.#environment.random(), backoff, close.retryInMs);
    // All retries are used up: now a person decides. Endless retries would hide that no data arrives.
    if (delayMs === null) return this.#stop("failed");
    this.#waitAndConnect(delayMs);
  }

  /** `navigator.onLine` may be wrong (a relay on this machine): retry now and then, without showing it. */
  #goOffline(): void {
    this.#stop("offline");
    this.#kind = this.#options.transports[0] ?? "polling";
    this.#retryTimer = setTimeout(() => this.#connect(true), OFFLINE_RETRY_MS);
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
        // There is no token source: the refusal is final.
        if (token === null) this.#stop("closed");
        else this.#openCurrent(token);
      },
      () => {
        if (opening !== this.#opening) return;
        // The relay has not refused the new token: perhaps the token source has no network either.
        this.#renewed = false;
        this.#failed(broken("the token source failed"));
      },
    );
  }

  /** Close the transports and stop the timers. The caller sets the state. */
  #release(): void {
    this.#opening += 1;
    for (const timer of [this.#retryTimer, this.#healthyTimer]) clearTimeout(timer);
    const current = this.#current;
    // First clear `#current`, then close: events that the close causes are then dropped.
    this.#current = null;
    this.#proven = false;
    current?.close();
    this.#upgrade.stop();
  }

  #stop(status: "idle" | "offline" | "paused" | "failed" | "closed"): void {
    this.#release();
    this.#fold({ type: "stopped", status });
  }

  // --- upgrading ----------------------------------------------------------------------------------------------

  /** Without a watched run, a transport that streams single runs cannot be used. */
  #usable(kinds: readonly TransportKind[]): readonly TransportKind[] {
    return kinds.filter((kind) => this.#subscriptions.runs.size > 0 || !needsRun(kind));
  }

  #openProbe(kind: TransportKind, token: string | null, probe: ProbeEvents): Transport {
    const box: { transport: Transport | null } = { transport: null };
    const isOurs = () =>
      box.transport !== null && (this.#current === box.transport || this.#upgrade.isProbe(box.transport));
    const events = this.#events(isOurs, probe.onProven);
    const transport = this.#open(kind, token, {
      ...events,
      onClose: (close) => {
        if (!probe.onClose(close)) events.onClose(close);
      },
    });
    box.transport = transport;
    // A transport that streams single runs is proven only by a run. Any other takes the runs over when it is proven.
    const first = this.#subscriptions.runs.entries().next().value;
    if (needsRun(kind) && first !== undefined) transport.subscribe(first[0], first[1].cursor());
    return transport;
  }

  #onUpgraded(kind: TransportKind, transport: Transport): void {
    const old = this.#current;
    this.#current = transport;
    this.#kind = kind;
    old?.close();
    this.#onProven();
    // No hole, no double: with the same cursors, an event of both transports is dropped, an event of neither is sent now.
    this.#subscriptions.subscribeAll(transport);
  }

  // --- delivering ----------------------------------------------------------------------------------------------

  #deliver(frames: readonly Frame[]): void {
    for (const frame of this.#subscriptions.deliver(frames)) {
      if (frame.type === "upstream") this.#fold({ type: "upstream", status: frame.status });
      else if (frame.type === "error" && frame.runId !== null) {
        return this.#failed({ code: frame.code, message: frame.message, retryInMs: null });
      }
    }
  }

  // --- the page and the clock ----------------------------------------------------------------------------------

  #onOnline(): void {
    // A new network: there is no reason to go on waiting, and a better transport may work here.
    this.#tries = 0;
    this.#upgrade.reset();
    if (this.#state.status === "connected") {
      this.#current?.checkAlive(ALIVE_CHECK_MS);
      this.#upgrade.plan();
    } else if (this.#state.status !== "closed" && !this.#subscriptions.isEmpty) this.#connect();
  }

  #onOffline(): void {
    const { status } = this.#state;
    // The browser may be wrong (a relay on this machine, a VPN): check the connection first.
    if (status === "connected") this.#current?.checkAlive(ALIVE_CHECK_MS);
    else if (status === "connecting" || status === "reconnecting") this.#goOffline();
  }

  #pause(): void {
    const { status } = this.#state;
    if (status !== "idle" && status !== "closed" && status !== "failed") this.#stop("paused");
  }

  #onSeen(hiddenMs: number): void {
    const { status } = this.#state;
    // A person looks at the page: do not let them wait for the end of a long pause.
    const waits = status === "paused" || status === "reconnecting" || status === "offline";
    if (waits && !this.#subscriptions.isEmpty) this.#connect();
    else if (status === "connected" && hiddenMs > ALIVE_CHECK_MS) this.#current?.checkAlive(ALIVE_CHECK_MS);
  }

  #onTick(now: number, slept: boolean): void {
    // While the machine slept, the relay has probably dropped this connection as a dead peer. Check it now.
    if (slept && this.#state.status === "connected") this.#current?.checkAlive(ALIVE_CHECK_MS);
    this.#fold({ type: "checked", now, receivedAt: this.#receivedAt, due: this.#due });
  }

  #lingerWhenUnused(): void {
    if (!this.#subscriptions.isEmpty) return;
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = setTimeout(() => {
      this.#stop("idle");
      this.#page.stop();
    }, LINGER_MS);
  }

  #fold(event: ConnectionEvent): void {
    const next = foldConnection(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    this.notify();
  }
}
