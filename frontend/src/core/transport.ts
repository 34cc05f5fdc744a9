/** What the three transports have in common: they carry runs' frames, prove themselves, and end once. */

import type { Frame } from "./frames.js";
import type { TransportKind } from "./types.js";

export interface TransportClose {
  /** WebSocket close code, or the code that an HTTP refusal amounts to; null when the link just broke. */
  readonly code: number | null;
  readonly message: string;
  readonly retryInMs: number | null;
}

/** The link just broke, without a code. */
export const broken = (message: string): TransportClose => ({ code: null, message, retryInMs: null });

export interface TransportEvents {
  /** Something came: from now on the transport counts as connected. Called once. */
  onProven(): void;
  onFrames(frames: readonly Frame[]): void;
  /** A ping's round trip in ms, or a request's. */
  onLatency(ms: number): void;
  /** Anything came, even an event without content. */
  onAlive(): void;
  /** A ping was not answered in time. */
  onMissed(): void;
  /** The transport is over. Called once, and nothing after it; not called after `close()`. */
  onClose(close: TransportClose): void;
}

export interface Transport {
  readonly kind: TransportKind;
  /** Follow a run from `after` (null: from its present state). Again for the same run: start over from there. */
  subscribe(runId: string, after: string | null): void;
  unsubscribe(runId: string): void;
  /** Follow the list of runs; only a WebSocket can. */
  subscribeFeed(wanted: boolean): void;
  /** Make sure within `deadlineMs` that the other end is there, or close. */
  checkAlive(deadlineMs: number): void;
  close(): void;
}

/** A relay says when it has lost its Redis, first of all; one that begins with anything else has it. */
export const UP: Frame = { type: "upstream", status: "up" };

/** Time within which a transport has to prove itself: a proxy may accept a WebSocket and carry nothing. */
export const PROOF_MS = 5_000;
export const PING_EVERY_MS = 25_000;
/** Without anything for this long, the other end is gone whatever the socket says (S2). */
export const DEAD_AFTER_MS = 45_000;
