/** Who wants what from a page's connection: runs with their cursors, and the lists. */

import { CloseCode } from "./codes.js";
import type { Frame } from "./frames.js";
import type { Transport } from "./transport.js";

export interface RunSubscription {
  /** Where to continue, or null to begin with the present state. */
  cursor(): string | null;
  onFrames(frames: readonly Frame[]): void;
}

export type FeedListener = (frame: Frame) => void;

export class Subscriptions {
  readonly runs = new Map<string, RunSubscription>();
  readonly feeds = new Set<FeedListener>();

  get isEmpty(): boolean {
    return this.runs.size === 0 && this.feeds.size === 0;
  }

  /** Ask a new transport for everything that is wanted, from where each stands. */
  subscribeAll(transport: Transport): void {
    for (const [runId, subscription] of this.runs) transport.subscribe(runId, subscription.cursor());
    if (this.feeds.size > 0) transport.subscribeFeed(true);
  }

  /** Hand frames to whom they are for. Returns what is about the connection itself. */
  deliver(frames: readonly Frame[]): readonly Frame[] {
    const ours: Frame[] = [];
    // A polled answer is one batch of one run: it is folded in one go.
    const byRun = new Map<string, Frame[]>();
    for (const frame of frames) {
      if (isAboutConnection(frame)) {
        ours.push(frame);
        continue;
      }
      const runId = runIdOf(frame);
      const batch = runId === null ? undefined : byRun.get(runId);
      if (runId === null) for (const feed of this.feeds) feed(frame);
      else if (batch === undefined) byRun.set(runId, [frame]);
      else batch.push(frame);
    }
    for (const [runId, batch] of byRun) this.runs.get(runId)?.onFrames(batch);
    return ours;
  }
}

function isAboutConnection(frame: Frame): boolean {
  if (frame.type === "upstream") return true;
  // An error without a run is explained by the close that follows; a token that has expired has expired for all.
  return frame.type === "error" && (frame.runId === null || frame.code === CloseCode.UNAUTHORIZED);
}

function runIdOf(frame: Frame): string | null {
  switch (frame.type) {
    case "progress":
      return frame.event.runId;
    case "initial_state":
      return frame.snapshot.runId;
    case "resumed":
    case "end":
    case "stale":
    case "error":
      return frame.runId;
    // Of the list of runs, or of the connection. No default: the compiler asks about each new frame.
    case "run":
    case "run_deleted":
    case "subscribed":
    case "upstream":
    case "pong":
      return null;
  }
}
