/** The store of one run, for React or anything else: it folds frames, and subscribes again when there is a gap. */

import type { RelayApi } from "./api.js";
import { retryDelayMs } from "./backoff.js";
import { CloseCode, isTerminalCode } from "./codes.js";
import type { Connection } from "./connection.js";
import { foldConnection } from "./connectionState.js";
import { START } from "./cursor.js";
import type { Frame, ProgressEvent } from "./frames.js";
import { applyEvents, applyLogDetails, applySnapshot, unknownRun } from "./reducer.js";
import { Subscribable, WatchedStore } from "./subscribable.js";
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
  /** Fetch the levels and times of the log lines once: an initial state does not have them. */
  readonly logDetails: boolean;
  readonly maxLogLines: number;
}

/** Frames within this time are folded and shown together: thirty renders a second are enough for a reader. */
const BATCH_MS = 33;
const FORGET_MS = 10_000;
/** After this time without an answer, missing events are requested again. */
const RESUME_MS = 5_000;
/** After this time without a failure in the relay, the run's count of failures is reset. */
const WELL_AFTER_MS = 60_000;

export class RunClient extends WatchedStore {
  readonly runId: string;
  readonly #connection: Connection;
  readonly #api: RelayApi;
  readonly #options: RunClientOptions;
  readonly #announced: Set<string>;
  readonly #outcomes = new Subscribable<Outcome>();
  readonly #events = new Subscribable<ProgressEvent>();
  readonly #subscription: RunSubscription;
  #state: RunClientState;
  /** Shown instead of the connection's state: closed (nothing more will come), or waiting (refused for now). */
  #own: ConnectionState | null = null;
  #restsSince = Date.now();
  #queue: Frame[] = [];
  #flushedAt = 0;
  #resumeAskedAt: number | null = null;
  #failures = 0;
  #failedAt = 0;
  #askTimer: ReturnType<typeof setTimeout> | undefined;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #stopConnection: (() => void) | null = null;

  /** `announced` holds the outcomes that this page has already reported, of all its stores. */
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

  /**
   * Whether it has not been watched for a while. A store that was just made, while a page renders, is not forgettable.
   */
  get isForgettable(): boolean {
    return !this.isWatched && Date.now() - this.#restsSince > FORGET_MS;
  }

  /** The current state: the same object until something changes. */
  get state(): RunClientState {
    return this.#state;
  }

  /**
   * Call `listener` for each end of the run that the server reports, until the returned function is called. Never
   * called
   * for a lost connection. On one page each attempt's end is reported once, to the listeners that there are.
   */
  onOutcome(listener: (outcome: Outcome) => void): () => void {
    const stop = this.#outcomes.subscribe(listener);
    this.#announce();
    return stop;
  }

  /**
   * Call `listener` for every event that arrives from now on, in order, each once, until the returned function is
   * called.
   * Only a subscribed run receives events (`subscribe`). Events from before, or from a time that could not be
   * continued,
   * are in the run's state only.
   */
  onEvent(listener: (event: ProgressEvent) => void): () => void {
    return this.#events.subscribe(listener);
  }

  /** Ask the server to stop the run. Rejects with a `RelayError`. */
  async cancel(): Promise<boolean> {
    return this.#api.cancel(this.runId);
  }

  /** Start another attempt of an ended run, and watch it. Rejects with a `RelayError`. */
  async retry(): Promise<void> {
    await this.#api.retry(this.runId);
    this.reopen();
  }

  /** Try to connect now: after all retries are used up, or instead of waiting for the next one. */
  reconnect(): void {
    this.#connection.retry();
    this.reopen();
  }

  /** Watch again although the run had ended: somebody has started another attempt. */
  reopen(): void {
    if (this.#own !== null) this.#ask();
  }

  // --- watching ------------------------------------------------------------------------------------------------

  /** The first subscriber connects. */
  protected override onWatched(): void {
    this.#stopConnection = this.#connection.subscribe(() => this.#show(this.#state.run));
    // Also for a run that had ended: while it was not watched, it may have been started again, or deleted.
    this.#ask();
  }

  #ask(): void {
    this.#own = null;
    if (this.isWatched) this.#connection.addRun(this.runId, this.#subscription);
    this.#show(this.#state.run);
  }

  protected override onUnwatched(): void {
    this.#restsSince = Date.now();
    clearTimeout(this.#askTimer);
    this.#askTimer = undefined;
    this.#stopConnection?.();
    this.#connection.removeRun(this.runId, this.#subscription);
  }

  // --- folding -------------------------------------------------------------------------------------------------

  #onFrames(frames: readonly Frame[]): void {
    this.#queue.push(...frames);
    // The first frame after a pause is shown at once; the frames that follow closely are shown together.
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
    for (const event of applied) this.#events.notify(event);
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
        // The log is gone: the last known state stays on the screen, marked as stale.
        return run.known ? { ...run, stale: true } : run;
      case "end":
        // The end came before the last events: they are missing, so request them.
        if (!isEnded(run.status)) {
          this.#askAgain(run);
          return run;
        }
        // Nothing more will come for this run. The connection stays open for other runs.
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
        // About this run only: the connection is good. The run is forbidden, or it is not a run.
        this.#close({ code, message });
        return run;
      }
      default:
        return run;
    }
  }

  /** The wait in ms before the run is subscribed again; null when only a person can do it. */
  #waitAfter(code: number): number | null {
    // A limit of subscribers or of runs per connection: there may be room later.
    if (code !== CloseCode.INTERNAL_ERROR) return RESUME_MS;
    // A fault in the relay that this run causes: a retry may cause it again and costs the relay time, so use the
    // backoff.
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

  /** There is a gap: request everything after the run's cursor. Once, until there is an answer. */
  #askAgain(run: RunState): void {
    const now = Date.now();
    if (this.#resumeAskedAt !== null && now - this.#resumeAskedAt < RESUME_MS) return;
    this.#resumeAskedAt = now;
    this.#show(run); // the subscription reads its cursor from the state
    this.#connection.resumeRun(this.runId);
  }

  #fetchDetails(): void {
    this.#api.snapshot(this.runId).then(
      (snapshot) => this.#show(applyLogDetails(this.#state.run, snapshot, this.#options.maxLogLines)),
      () => {}, // the log is shown without levels and times
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
    if (!run.known || !this.#outcomes.hasListeners) return;
    if (run.status !== "succeeded" && run.status !== "failed" && run.status !== "cancelled") return;
    const name = `${run.runId}|${run.cursor.split("-")[0]}|${run.attempt}`;
    if (this.#announced.has(name)) return;
    this.#announced.add(name);
    this.#outcomes.notify({ status: run.status, run });
  }
}
