/** The store of a list of runs: pages from the API, then changes from the feed; without a feed it polls. */

import type { RelayApi, RunFilter } from "./api.js";
import type { Connection } from "./connection.js";
import { relate } from "./cursor.js";
import type { Frame } from "./frames.js";
import { WatchedStore } from "./subscribable.js";
import type { RunSummary } from "./types.js";
import { isInFilter } from "./types.js";

export interface RunListState {
  readonly status: "loading" | "ready" | "error";
  readonly runs: readonly RunSummary[];
  readonly nextCursor: string | null;
  readonly loadingMore: boolean;
  readonly error: Error | null;
}

const POLL_MS = 4_000;
const BATCH_MS = 50;

/** Whether a run belongs in a list with this filter. The server decides by the same rule. */
export function matches(run: RunSummary, filter: RunFilter): boolean {
  const { status, pipeline, q } = filter;
  if (status && !isInFilter(run.status, status)) return false;
  if (pipeline && run.pipeline !== pipeline) return false;
  if (!q) return true;
  const needle = q.toLowerCase();
  return run.runId.toLowerCase().includes(needle) || (run.title ?? "").toLowerCase().includes(needle);
}

/** The list after changes: runs that no longer match are removed, new ones are put in front, the newest first. */
export function merge(
  runs: readonly RunSummary[],
  changed: ReadonlyMap<string, RunSummary | null>,
  filter: RunFilter,
): readonly RunSummary[] {
  const seen = new Set<string>();
  const kept = runs.flatMap((run) => {
    const next = changed.get(run.runId);
    if (next === undefined) return [run];
    seen.add(run.runId);
    if (next !== null && next.seq < run.seq && relate(run.cursor, next.cursor) === "seen") return [run];
    return next !== null && matches(next, filter) ? [next] : [];
  });
  const added = [...changed.values()].filter(
    (run): run is RunSummary => run !== null && !seen.has(run.runId) && matches(run, filter),
  );
  // Rows keep their places, because a list that moves at every event cannot be read or clicked. Only new runs are
  // inserted,
  // at the top.
  added.sort((a, b) => (b.createdAt ?? b.updatedAt ?? 0) - (a.createdAt ?? a.updatedAt ?? 0));
  return [...added, ...kept];
}

function append(runs: readonly RunSummary[], more: readonly RunSummary[]): readonly RunSummary[] {
  const known = new Set(runs.map((run) => run.runId));
  return [...runs, ...more.filter((run) => !known.has(run.runId))];
}

export class RunList extends WatchedStore {
  readonly #api: RelayApi;
  readonly #connection: Connection;
  readonly #filter: RunFilter;
  readonly #changed = new Map<string, RunSummary | null>();
  /** Changes from the feed since the page was requested; null while no request is open. */
  #changedMeanwhile: Map<string, RunSummary | null> | null = null;
  readonly #onFrame = (frame: Frame) => this.#received(frame);
  #state: RunListState = { status: "loading", runs: [], nextCursor: null, loadingMore: false, error: null };
  #owner: AbortController | null = null;
  #stopConnection: (() => void) | null = null;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #pollTimer: ReturnType<typeof setTimeout> | undefined;
  #wasLive = false;
  #upstream: "up" | "down" = "up";

  constructor(api: RelayApi, connection: Connection, filter: RunFilter) {
    super();
    this.#api = api;
    this.#connection = connection;
    this.#filter = filter;
  }

  get state(): RunListState {
    return this.#state;
  }

  /** Fetch the list again. The old rows are shown until it arrives. Never rejects: an error is in the state. */
  async refresh(): Promise<void> {
    this.#owner?.abort();
    const owner = new AbortController();
    this.#owner = owner;
    this.#changedMeanwhile = new Map();
    try {
      const shown = this.#state.runs.length;
      let { runs, nextCursor } = await this.#api.runs(this.#filter, null, owner.signal);
      // Fetch as many rows as were shown: a reader who had loaded more pages keeps them.
      while (nextCursor !== null && runs.length < shown) {
        const more = await this.#api.runs(this.#filter, nextCursor, owner.signal);
        runs = append(runs, more.runs);
        nextCursor = more.nextCursor;
      }
      if (this.#owner !== owner) return;
      // The page may be older than changes that the feed has sent meanwhile.
      runs = merge(runs, this.#changedMeanwhile, this.#filter);
      this.#changedMeanwhile = null;
      this.#set({ ...this.#state, status: "ready", error: null, runs, nextCursor });
    } catch (error) {
      if (this.#owner !== owner) return;
      this.#changedMeanwhile = null;
      const known = this.#state.runs.length > 0;
      this.#set({ ...this.#state, status: known ? "ready" : "error", error: error as Error });
    }
    this.#planPoll();
  }

  async loadMore(): Promise<void> {
    const cursor = this.#state.nextCursor;
    if (cursor === null || this.#state.loadingMore) return;
    this.#set({ ...this.#state, loadingMore: true });
    try {
      const page = await this.#api.runs(this.#filter, cursor);
      const runs = append(this.#state.runs, page.runs);
      this.#set({ ...this.#state, runs, nextCursor: page.nextCursor, loadingMore: false, error: null });
    } catch (error) {
      this.#set({ ...this.#state, loadingMore: false, error: error as Error });
    }
  }

  protected override onWatched(): void {
    this.#connection.addFeed(this.#onFrame);
    this.#stopConnection = this.#connection.subscribe(() => this.#connectionChanged());
    this.#wasLive = this.#isLive();
    void this.refresh();
  }

  protected override onUnwatched(): void {
    this.#owner?.abort();
    this.#owner = null;
    this.#stopConnection?.();
    this.#connection.removeFeed(this.#onFrame);
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#pollTimer);
    this.#flushTimer = undefined;
    this.#pollTimer = undefined;
  }

  #isLive(): boolean {
    return this.#connection.state.status === "connected" && this.#connection.state.transport === "websocket";
  }

  #connectionChanged(): void {
    const live = this.#isLive();
    const back = this.#connection.state.upstream === "up" && this.#upstream === "down";
    this.#upstream = this.#connection.state.upstream;
    const connected = this.#connection.state.status === "connected";
    // The feed has no cursor: after any time without it the list is fetched again.
    if (back || (live && !this.#wasLive) || (connected && this.#state.error !== null)) void this.refresh();
    else if (!live) this.#planPoll();
    this.#wasLive = live;
  }

  #planPoll(): void {
    if (!this.isWatched || this.#isLive() || this.#pollTimer !== undefined) return;
    this.#pollTimer = setTimeout(() => {
      this.#pollTimer = undefined;
      const { status } = this.#connection.state;
      // While the connection waits or has failed, the list waits, too.
      if (status === "connected" || status === "connecting") void this.refresh();
    }, POLL_MS);
  }

  #received(frame: Frame): void {
    if (frame.type !== "run" && frame.type !== "run_deleted") return;
    const summary = frame.type === "run" ? frame.summary : null;
    const runId = frame.type === "run" ? frame.summary.runId : frame.runId;
    for (const changes of [this.#changed, this.#changedMeanwhile]) changes?.set(runId, summary);
    // A thousand runs may change at once: make one new list for all the changes.
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = undefined;
      const changed = new Map(this.#changed);
      this.#changed.clear();
      this.#set({ ...this.#state, runs: merge(this.#state.runs, changed, this.#filter) });
    }, BATCH_MS);
  }

  #set(state: RunListState): void {
    this.#state = state;
    this.notify();
  }
}
