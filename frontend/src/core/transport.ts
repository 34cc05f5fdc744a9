/**
 * The interface of the transports. A transport carries the frames of runs, is proven by the first frame, and closes
 * once.
 */

import type { Frame } from "./frames.js";
import type { TransportKind } from "./types.js";

export interface TransportClose {
  /** The WebSocket close code, or the code that an HTTP refusal stands for; null when the connection broke. */
  readonly code: number | null;
  readonly message: string;
  readonly retryInMs: number | null;
}

/** The close of a connection that broke, without a code. */
export const broken = (message: string): TransportClose => ({ code: null, message, retryInMs: null });

export interface TransportEvents {
  /** The first frame was received: the transport is proven and counts as connected. Called once. */
  onProven(): void;
  onFrames(frames: readonly Frame[]): void;
  /** The round trip of a ping or a request, in ms. */
  onLatency(ms: number): void;
  /** Anything was received, also an event without content. */
  onAlive(): void;
  /** A ping was not answered in time. */
  onMissed(): void;
  /** The transport is closed. Called once, as the last event; not called after `close()`. */
  onClose(close: TransportClose): void;
}

export interface Transport {
  readonly kind: TransportKind;
  /**
   * Subscribe to a run from the cursor `after` (null: from its current state). For a subscribed run: start again from
   * there.
   */
  subscribe(runId: string, after: string | null): void;
  unsubscribe(runId: string): void;
  /** Subscribe to the feed of the list of runs. Only a WebSocket has one. */
  subscribeFeed(wanted: boolean): void;
  /** Check that the peer is alive: without an answer within `deadlineMs` the transport closes. */
  checkAlive(deadlineMs: number): void;
  close(): void;
}

/** A relay without its Redis says so in its first frame. When the first frame is another one, its Redis is up. */
export const UP: Frame = { type: "upstream", status: "up" };

/** The deadline for the first frame: a proxy may accept a WebSocket and carry nothing. */
export const PROOF_MS = 5_000;
export const PING_EVERY_MS = 25_000;
/** After this time without a frame the peer is dead, even if the socket is open (S2). */
export const DEAD_AFTER_MS = 45_000;
