/** One run, watched: a store for React (or anything) that folds frames and asks again for what is missing. */

import type { RelayApi } from "./api.js";
import { isTerminalCode } from "./codes.js";
import { START } from "./cursor.js";
import type { Frame, ProgressEvent } from "./frames.js";
import type { Link } from "./link.js";
import { applyEvents, applyLogDetails, applySnapshot, unknownRun } from "./reducer.js";
import type { RunSink } from "./sinks.js";
import type { ConnectionError, ConnectionState, RunState } from "./types.js";

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
/** An unanswered question for what is missing is asked again. */
const RESUME_MS = 5_000;

export class RunClient {
  readonly runId: string;
  readonly #link: Link;
  readonly #api: RelayApi;
  readonly #options: RunClientOptions;
  readonly #announced: Set<string>;
  readonly #listeners = new Set<() => void>();
  readonly #outcomeListeners = new Set<(outcome: Outcome) => void>();
  readonly #sink: RunSink;
  #state: RunClientState;
  #refusal: ConnectionError | null = null;
  /** The server said that nothing more will come. */
  #done = false;
  #watching = false;
  #queue: Frame[] = [];
  #flushedAt = 0;
  #resumeAskedAt: number | null = null;
  #askTimer: ReturnType<typeof setTimeout> | null = null;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #lingerTimer: ReturnType<typeof setTimeout> | null = null;
  #stopLink: (() => void) | null = null;

  /** `announced` holds the outcomes already told on this page, over all its clients. */
  constructor(runId: string, link: Link, api: RelayApi, options: RunClientOptions, announced: Set<string>) {
    this.runId = runId;
    this.#link = link;
    this.#api = api;
    this.#options = options;
    this.#announced = announced;
    this.#state = { run: unknownRun(runId), connection: link.state };
    this.#sink = {
      cursor: () => (this.#state.run.cursor === START ? null : this.#state.run.cursor),
      onFrames: (frames) => this.#onFrames(frames),
    };
  }

  get isWatched(): boolean {
    return this.#watching;
  }

  /** The present state; the same object until something changes. */
  get state(): RunClientState {
    return this.#state;
  }

  /** Watch until the returned function is called; the first watcher connects. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#stopSoon();
    };
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
    this.#refusal = null;
    this.#link.retry();
    this.reopen();
  }

  /** Watch again although the run had ended: somebody has started another attempt. */
  reopen(): void {
    if (!this.#done && this.#refusal === null) return;
    this.#done = false;
    this.#refusal = null;
    if (this.#watching) this.#link.addRun(this.runId, this.#sink);
    this.#show(this.#state.run);
  }

  // --- watching ------------------------------------------------------------------------------------------------

  #start(): void {
    if (this.#lingerTimer !== null) clearTimeout(this.#lingerTimer);
    this.#lingerTimer = null;
    if (this.#watching) return;
    this.#watching = true;
    this.#stopLink = this.#link.subscribe(() => this.#show(this.#state.run));
    if (!this.#done && this.#refusal === null) this.#link.addRun(this.runId, this.#sink);
    this.#show(this.#state.run);
  }

  #stopSoon(): void {
    // React unmounts and mounts again in one breath (StrictMode, a change of page): that is no reason to reconnect.
    this.#lingerTimer ??= setTimeout(() => {
      this.#lingerTimer = null;
      this.#watching = false;
      if (this.#askTimer !== null) clearTimeout(this.#askTimer);
      this.#askTimer = null;
      this.#stopLink?.();
      this.#stopLink = null;
      this.#link.removeRun(this.runId, this.#sink);
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
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    this.#flushedAt = Date.now();
    const frames = this.#queue;
    this.#queue = [];
    let run = this.#state.run;
    let events: ProgressEvent[] = [];
    const fold = () => {
      if (events.length === 0) return;
      const folded = applyEvents(run, events, this.#options.maxLogLines);
      if (folded.run !== run) this.#resumeAskedAt = null;
      run = folded.run;
      events = [];
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
        return run;
      case "stale":
        // The log is gone: what we last saw stays on the screen, marked.
        return run.known ? { ...run, stale: true } : run;
      case "end":
        // Nothing more comes; the socket stays for other runs.
        this.#done = true;
        this.#link.removeRun(this.runId, this.#sink);
        return run;
      case "error":
        if (!isTerminalCode(frame.code)) {
          // Too many watch this run, or on this connection: there may be room later.
          this.#askTimer ??= setTimeout(() => {
            this.#askTimer = null;
            this.#link.resumeRun(this.runId);
          }, RESUME_MS);
          return run;
        }
        // About this run only: the link is fine, the run is not for us (or not a run).
        this.#refusal = { code: frame.code, message: frame.message };
        this.#link.removeRun(this.runId, this.#sink);
        return run;
      default:
        return run;
    }
  }

  /** Something is missing before what came: everything after our cursor, please. Once, until there is an answer. */
  #askAgain(run: RunState): void {
    const now = Date.now();
    if (this.#resumeAskedAt !== null && now - this.#resumeAskedAt < RESUME_MS) return;
    this.#resumeAskedAt = now;
    this.#state = { ...this.#state, run }; // the sink's cursor is read from here
    this.#link.resumeRun(this.runId);
  }

  #fetchDetails(): void {
    this.#api.snapshot(this.runId).then(
      (snapshot) => this.#show(applyLogDetails(this.#state.run, snapshot, this.#options.maxLogLines)),
      () => {}, // without levels and times the log is still the log
    );
  }

  #show(run: RunState): void {
    const connection = this.#connection();
    if (run === this.#state.run && connection === this.#state.connection) return;
    this.#state = { run, connection };
    for (const listener of this.#listeners) listener();
  }

  /** The link's state, unless this run needs it no more or is refused. */
  #connection(): ConnectionState {
    const { state } = this.#link;
    if (this.#refusal === null && !this.#done) return state;
    const last = this.#state.connection;
    if (last.status === "closed" && last.error === this.#refusal) return last;
    return { ...state, status: "closed", attempt: 0, retryInMs: null, retryAt: null, error: this.#refusal };
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
