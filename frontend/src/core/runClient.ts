/** One run, watched: a store for React (or anything) that folds frames and asks again for what is missing. */

import type { RelayApi } from "./api.js";
import { retryDelayMs } from "./backoff.js";
import { CloseCode, isTerminalCode } from "./codes.js";
import type { Connection } from "./connection.js";
import { foldConnection } from "./connectionState.js";
import { START } from "./cursor.js";
import type { Frame, ProgressEvent } from "./frames.js";
import { applyEvents, applyLogDetails, applySnapshot, unknownRun } from "./reducer.js";
import { Subscribable } from "./subscribable.js";
import type { RunSubscription } from "./subscriptions.js";
import type { ConnectionError, ConnectionState, RunState } from "./types.js";
import { isEnded } from "./types.js";

export interface RunClientState {
  readonly run: RunState;
  readonly connection: ConnectionState;
}

export interface Outcome {
  readonly status: "succeeded" | "failed" | "cancelled";
  readonly run: RunState;
}

export interface RunClientOptions {
  /** Fetch the log's levels and times once, which an initial state does not carry. */
  readonly logDetails: boolean;
  readonly maxLogLines: number;
}

/** What comes so close together is folded and shown together: nobody reads faster than thirty pictures a second. */
const BATCH_MS = 33;
const LINGER_MS = 1_000;
const FORGET_MS = 10_000;
/** An unanswered question for what is missing is asked again. */
const RESUME_MS = 5_000;
/** A run that has failed in the relay is well again when it has not failed for so long. */
const WELL_AFTER_MS = 60_000;

export class RunClient extends Subscribable {
  readonly runId: string;
  readonly #connection: Connection;
  readonly #api: RelayApi;
  readonly #options: RunClientOptions;
  readonly #announced: Set<string>;
  readonly #outcomeListeners = new Set<(outcome: Outcome) => void>();
  readonly #eventListeners = new Set<(event: ProgressEvent) => void>();
  readonly #subscription: RunSubscription;
  #state: RunClientState;
  /** Shown instead of the link's: closed, for nothing more will come; or waiting, being refused for now. */
  #own: ConnectionState | null = null;
  #watching = false;
  #restsSince = Date.now();
  #queue: Frame[] = [];
  #flushedAt = 0;
  #resumeAskedAt: number | null = null;
  #failures = 0;
  #failedAt = 0;
  #askTimer: ReturnType<typeof setTimeout> | undefined;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #lingerTimer: ReturnType<typeof setTimeout> | undefined;
  #stopConnection: (() => void) | null = null;

  /** `announced` holds the outcomes already told on this page, over all its clients. */
  constructor(
    runId: string,
    connection: Connection,
    api: RelayApi,
    options: RunClientOptions,
    announced: Set<string>,
  ) {
    super();
    this.runId = runId;
    this.#connection = connection;
    this.#api = api;
    this.#options = options;
    this.#announced = announced;
    this.#state = { run: unknownRun(runId), connection: connection.state };
    this.#subscription = {
      cursor: () => (this.#state.run.cursor === START ? null : this.#state.run.cursor),
      onFrames: (frames) => this.#onFrames(frames),
    };
  }

  /** Nobody has watched it for a while: not only since it was made, as happens while a page renders. */
  get isForgettable(): boolean {
    return !this.#watching && Date.now() - this.#restsSince > FORGET_MS;
  }

  /** The present state; the same object until something changes. */
  get state(): RunClientState {
    return this.#state;
  }

  /** The first watcher connects. */
  protected override onSubscribe(): void {
    this.#start();
  }

  protected override onUnsubscribe(): void {
    if (!this.hasListeners) this.#stopSoon();
  }

  /**
   * Called once for each end of the run that the server reports: never for a lost connection, and on this page
   * once for each attempt, whoever comes and goes.
   */
  onOutcome(listener: (outcome: Outcome) => void): () => void {
    this.#outcomeListeners.add(listener);
    this.#announce();
    return () => this.#outcomeListeners.delete(listener);
  }

  /**
   * Called for every event that comes from now on, in order, each once. Watching must have begun (`subscribe`). What was
   * before, or came while the log could not be continued, is only in the run's state.
   */
  onEvent(listener: (event: ProgressEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => this.#eventListeners.delete(listener);
  }

  /** Ask the server to stop the run. Rejects with a `RelayError`. */
  async cancel(): Promise<void> {
    await this.#api.cancel(this.runId);
  }

  /** Start another attempt of an ended run, and watch it. Rejects with a `RelayError`. */
  async retry(): Promise<void> {
    await this.#api.retry(this.runId);
    this.reopen();
  }

  /** Try to connect now (after the automatic tries were used up, or instead of waiting). */
  reconnect(): void {
    this.#connection.retry();
    this.reopen();
  }

  /** Watch again although the run had ended: somebody has started another attempt. */
  reopen(): void {
    if (this.#own !== null) this.#ask();
  }

  // --- watching ------------------------------------------------------------------------------------------------

  #start(): void {
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = undefined;
    if (this.#watching) return;
    this.#watching = true;
    this.#stopConnection = this.#connection.subscribe(() => this.#show(this.#state.run));
    // Also when it had ended: while nobody looked here it may have begun again, or have been deleted.
    this.#ask();
  }

  #ask(): void {
    this.#own = null;
    if (this.#watching) this.#connection.addRun(this.runId, this.#subscription);
    this.#show(this.#state.run);
  }

  #stopSoon(): void {
    // React unmounts and mounts again in one breath (StrictMode, a change of page): that is no reason to reconnect.
    this.#lingerTimer ??= setTimeout(() => {
      this.#lingerTimer = undefined;
      this.#watching = false;
      this.#restsSince = Date.now();
      clearTimeout(this.#askTimer);
      this.#askTimer = undefined;
      this.#stopConnection?.();
      this.#stopConnection = null;
      this.#connection.removeRun(this.runId, this.#subscription);
    }, LINGER_MS);
  }

  // --- folding -------------------------------------------------------------------------------------------------

  #onFrames(frames: readonly Frame[]): void {
    this.#queue.push(...frames);
    // The first after a quiet moment is shown at once; what follows closely is shown together.
    const sinceMs = Date.now() - this.#flushedAt;
    if (sinceMs >= BATCH_MS || frames.some((frame) => frame.type === "end")) this.#flush();
    else this.#flushTimer ??= setTimeout(() => this.#flush(), BATCH_MS - sinceMs);
  }

  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    this.#flushedAt = Date.now();
    const frames = this.#queue;
    this.#queue = [];
    if (this.#own?.status !== "closed") this.#own = null;
    let run = this.#state.run;
    let events: ProgressEvent[] = [];
    const applied: ProgressEvent[] = [];
    const fold = () => {
      if (events.length === 0) return;
      const folded = applyEvents(run, events, this.#options.maxLogLines);
      if (folded.run !== run) this.#resumeAskedAt = null;
      run = folded.run;
      events = [];
      applied.push(...folded.applied);
      if (folded.gap) this.#askAgain(run);
    };
    for (const frame of frames) {
      if (frame.type === "progress") {
        events.push(frame.event);
        continue;
      }
      fold();
      run = this.#foldOther(run, frame);
    }
    fold();
    this.#show(run);
    for (const event of applied) for (const listener of [...this.#eventListeners]) listener(event);
    this.#announce();
  }

  #foldOther(run: RunState, frame: Frame): RunState {
    switch (frame.type) {
      case "initial_state": {
        this.#resumeAskedAt = null;
        const next = applySnapshot(run, frame.snapshot, this.#options.maxLogLines);
        const lacksDetails = frame.snapshot.logLines === null && frame.snapshot.logs.length > 0;
        if (lacksDetails && this.#options.logDetails && next !== run) this.#fetchDetails();
        return next;
      }
      case "resumed":
        this.#resumeAskedAt = null;
        return run.stale ? { ...run, stale: false } : run;
      case "stale":
        // The log is gone: what we last saw stays on the screen, marked.
        return run.known ? { ...run, stale: true } : run;
      case "end":
        // It ends what we have not seen: that is still to come.
        if (!isEnded(run.status)) {
          this.#askAgain(run);
          return run;
        }
        // Nothing more comes; the socket stays for other runs.
        this.#close(null);
        return run;
      case "error": {
        const { code, message } = frame;
        if (!isTerminalCode(code)) {
          const inMs = this.#waitAfter(code);
          if (inMs === null) {
            this.#close({ code, message });
            return run;
          }
          const waiting = { type: "waiting", attempt: 1, inMs, now: Date.now() } as const;
          this.#own = { ...foldConnection(this.#connection.state, waiting), error: { code, message } };
          this.#askTimer ??= setTimeout(() => {
            this.#askTimer = undefined;
            this.#connection.resumeRun(this.runId);
          }, inMs);
          return run;
        }
        // About this run only: the link is fine, the run is not for us (or not a run).
        this.#close({ code, message });
        return run;
      }
      default:
        return run;
    }
  }

  /** How long to wait before the run is asked for again, in ms; null when only a person can. */
  #waitAfter(code: number): number | null {
    // Too many watch this run, or on this connection: there may be room later.
    if (code !== CloseCode.INTERNAL_ERROR) return RESUME_MS;
    // A fault in the relay, met by this run: the next try may meet it again, and costs the relay something.
    const now = Date.now();
    if (now - this.#failedAt > WELL_AFTER_MS) this.#failures = 0;
    this.#failedAt = now;
    this.#failures += 1;
    return retryDelayMs(this.#failures, Math.random());
  }

  #close(error: ConnectionError | null): void {
    this.#own = { ...foldConnection(this.#connection.state, { type: "stopped", status: "closed" }), error };
    this.#connection.removeRun(this.runId, this.#subscription);
  }

  /** Something is missing before what came: everything after our cursor, please. Once, until there is an answer. */
  #askAgain(run: RunState): void {
    const now = Date.now();
    if (this.#resumeAskedAt !== null && now - this.#resumeAskedAt < RESUME_MS) return;
    this.#resumeAskedAt = now;
    this.#show(run); // the subscription's cursor is read from the state
    this.#connection.resumeRun(this.runId);
  }

  #fetchDetails(): void {
    this.#api.snapshot(this.runId).then(
      (snapshot) => this.#show(applyLogDetails(this.#state.run, snapshot, this.#options.maxLogLines)),
      () => {}, // without levels and times the log is still the log
    );
  }

  #show(run: RunState): void {
    const connection = this.#connectionState();
    if (run === this.#state.run && connection === this.#state.connection) return;
    this.#state = { run, connection };
    this.notify();
  }

  #connectionState(): ConnectionState {
    const { state } = this.#connection;
    const own = this.#own;
    return own !== null && (own.status === "closed" || state.status === "connected") ? own : state;
  }

  #announce(): void {
    const { run } = this.#state;
    if (!run.known || this.#outcomeListeners.size === 0) return;
    if (run.status !== "succeeded" && run.status !== "failed" && run.status !== "cancelled") return;
    const name = `${run.runId}|${run.cursor.split("-")[0]}|${run.attempt}`;
    if (this.#announced.has(name)) return;
    this.#announced.add(name);
    const outcome = { status: run.status, run };
    for (const listener of [...this.#outcomeListeners]) listener(outcome);
  }
}
