/** The list of runs, kept live: pages from the API, changes from the feed, polling where there is no feed. */

import type { RelayApi, RunFilter } from "./api.js";
import type { Frame } from "./frames.js";
import type { Link } from "./link.js";
import type { RunSummary } from "./types.js";
import { isEnded } from "./types.js";

export interface RunListState {
  readonly status: "loading" | "ready" | "error";
  readonly runs: readonly RunSummary[];
  readonly nextCursor: string | null;
  readonly loadingMore: boolean;
  readonly error: Error | null;
}

const POLL_MS = 4_000;
const BATCH_MS = 50;

/** Whether a run belongs in a list with this filter, as the server would decide. */
export function matches(run: RunSummary, filter: RunFilter): boolean {
  const { status, pipeline, q } = filter;
  if (status === "active" && (isEnded(run.status) || run.status === "unknown")) return false;
  if (status && status !== "active" && run.status !== status) return false;
  if (pipeline && run.pipeline !== pipeline) return false;
  if (!q) return true;
  const needle = q.toLowerCase();
  return run.runId.toLowerCase().includes(needle) || (run.title ?? "").toLowerCase().includes(needle);
}

/** The list with some runs changed: those that no longer match leave, new ones come first, the newest by update. */
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
    return next !== null && matches(next, filter) ? [next] : [];
  });
  const added = [...changed.values()].filter(
    (run): run is RunSummary => run !== null && !seen.has(run.runId) && matches(run, filter),
  );
  // A list that jumps at every event cannot be read or clicked: only new runs move, and only to the top.
  added.sort((a, b) => (b.createdAt ?? b.updatedAt ?? 0) - (a.createdAt ?? a.updatedAt ?? 0));
  return [...added, ...kept];
}

export class RunList {
  readonly #api: RelayApi;
  readonly #link: Link;
  readonly #filter: RunFilter;
  readonly #listeners = new Set<() => void>();
  readonly #changed = new Map<string, RunSummary | null>();
  readonly #onFrame = (frame: Frame) => this.#received(frame);
  #state: RunListState = { status: "loading", runs: [], nextCursor: null, loadingMore: false, error: null };
  #owner: AbortController | null = null;
  #stopLink: (() => void) | null = null;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #pollTimer: ReturnType<typeof setTimeout> | null = null;
  #lingerTimer: ReturnType<typeof setTimeout> | null = null;
  #wasLive = false;
  #upstream: "up" | "down" = "up";

  constructor(api: RelayApi, link: Link, filter: RunFilter) {
    this.#api = api;
    this.#link = link;
    this.#filter = filter;
  }

  get state(): RunListState {
    return this.#state;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    if (this.#lingerTimer !== null) clearTimeout(this.#lingerTimer);
    this.#lingerTimer = null;
    if (this.#stopLink === null) this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#lingerTimer ??= setTimeout(() => this.#stop(), 1_000);
    };
  }

  /** Fetch the first page again, keeping what is shown until it is here. */
  async refresh(): Promise<void> {
    this.#owner?.abort();
    const owner = new AbortController();
    this.#owner = owner;
    try {
      const page = await this.#api.runs(this.#filter, null, owner.signal);
      if (this.#owner !== owner) return;
      this.#set({ ...this.#state, status: "ready", error: null, ...page });
    } catch (error) {
      if (this.#owner !== owner) return;
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
      const known = new Set(this.#state.runs.map((run) => run.runId));
      const runs = [...this.#state.runs, ...page.runs.filter((run) => !known.has(run.runId))];
      this.#set({ ...this.#state, runs, nextCursor: page.nextCursor, loadingMore: false, error: null });
    } catch (error) {
      this.#set({ ...this.#state, loadingMore: false, error: error as Error });
    }
  }

  #start(): void {
    this.#link.addFeed(this.#onFrame);
    this.#stopLink = this.#link.subscribe(() => this.#linkChanged());
    this.#wasLive = this.#isLive();
    void this.refresh();
  }

  #stop(): void {
    this.#lingerTimer = null;
    this.#owner?.abort();
    this.#owner = null;
    this.#stopLink?.();
    this.#stopLink = null;
    this.#link.removeFeed(this.#onFrame);
    for (const timer of [this.#flushTimer, this.#pollTimer]) if (timer !== null) clearTimeout(timer);
    this.#flushTimer = null;
    this.#pollTimer = null;
  }

  #isLive(): boolean {
    return this.#link.state.status === "connected" && this.#link.state.transport === "websocket";
  }

  #linkChanged(): void {
    const live = this.#isLive();
    const back = this.#link.state.upstream === "up" && this.#upstream === "down";
    this.#upstream = this.#link.state.upstream;
    const connected = this.#link.state.status === "connected";
    // The feed has no cursor: after any gap in listening the page is fetched again.
    if (back || (live && !this.#wasLive) || (connected && this.#state.error !== null)) void this.refresh();
    else if (!live) this.#planPoll();
    this.#wasLive = live;
  }

  #planPoll(): void {
    if (this.#stopLink === null || this.#isLive() || this.#pollTimer !== null) return;
    this.#pollTimer = setTimeout(() => {
      this.#pollTimer = null;
      const { status } = this.#link.state;
      // While the link itself waits or has given up, so does the list.
      if (status === "connected" || status === "connecting") void this.refresh();
    }, POLL_MS);
  }

  #received(frame: Frame): void {
    if (frame.type === "run") this.#changed.set(frame.summary.runId, frame.summary);
    else if (frame.type === "run_deleted") this.#changed.set(frame.runId, null);
    else return;
    // A thousand runs may move at once: one new list for all of it.
    this.#flushTimer ??= setTimeout(() => {
      this.#flushTimer = null;
      const changed = new Map(this.#changed);
      this.#changed.clear();
      this.#set({ ...this.#state, runs: merge(this.#state.runs, changed, this.#filter) });
    }, BATCH_MS);
  }

  #set(state: RunListState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}
