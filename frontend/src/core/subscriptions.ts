/** The subscriptions of a page's connection: runs with their cursors, and lists. */

import { CloseCode } from "./codes.js";
import type { Frame } from "./frames.js";
import type { Transport } from "./transport.js";

export interface RunSubscription {
  /** The cursor to continue from; null to begin with the current state. */
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

  /** Subscribe everything on a new transport, each run from its cursor. */
  subscribeAll(transport: Transport): void {
    for (const [runId, subscription] of this.runs) transport.subscribe(runId, subscription.cursor());
    if (this.feeds.size > 0) transport.subscribeFeed(true);
  }

  /** Deliver frames to their subscriptions. Returns the frames about the connection itself. */
  deliver(frames: readonly Frame[]): readonly Frame[] {
    const ours: Frame[] = [];
    // A polled answer has many frames of one run: deliver them together, so that they are folded together.
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
  // An error without a run belongs to the close that follows. An expired token is expired for all runs.
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
    // About the list of runs, or about the connection. No default case: the compiler then asks about each new frame
    // type.
    case "run":
    case "run_deleted":
    case "subscribed":
    case "upstream":
    case "pong":
      return null;
  }
}
