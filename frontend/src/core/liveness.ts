/** Pings, and the detection of a dead peer: one timer for each open transport. */

import { DEAD_AFTER_MS, PING_EVERY_MS, PROOF_MS } from "./transport.js";

export interface LivenessEvents {
  /** Send a ping, if this transport can. */
  ping(): void;
  missed(): void;
  /** The peer is dead: nothing was received for too long. Called once. */
  dead(why: string): void;
}

export class Liveness {
  readonly #events: LivenessEvents;
  #receivedAt = Date.now();
  #pingAt: number | null = null;
  #deadline: number;
  #why = `nothing was heard for ${PROOF_MS} ms after connecting`;
  #nextPing = Number.POSITIVE_INFINITY;
  readonly #pingEveryMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Starts with the deadline for the first frame. `pingEveryMs` is infinite for a transport that cannot send. */
  constructor(events: LivenessEvents, pingEveryMs = PING_EVERY_MS, proofMs = PROOF_MS) {
    this.#events = events;
    this.#pingEveryMs = pingEveryMs;
    this.#deadline = Date.now() + proofMs;
    this.#arm();
  }

  /** Something was received. Returns the round trip in ms when it is the answer to the pending ping, else null. */
  received(pong: boolean): number | null {
    const now = Date.now();
    this.#receivedAt = now;
    this.#deadline = now + DEAD_AFTER_MS;
    this.#why = `nothing was heard for ${DEAD_AFTER_MS} ms`;
    if (this.#nextPing === Number.POSITIVE_INFINITY) this.#nextPing = now + this.#pingEveryMs;
    // The timer is not moved for each frame: when it fires, it checks the deadline.
    if (!pong || this.#pingAt === null) return null;
    const latency = now - this.#pingAt;
    this.#pingAt = null;
    return latency;
  }

  /** A ping is sent now. With `deadlineMs` its answer, or any other frame, must arrive within that time. */
  pinged(deadlineMs: number | null = null): void {
    const now = Date.now();
    this.#pingAt ??= now;
    this.#nextPing = now + this.#pingEveryMs;
    if (deadlineMs !== null) {
      this.#deadline = Math.min(this.#deadline, now + deadlineMs);
      this.#why = `no answer within ${deadlineMs} ms`;
    }
    this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#deadline = Number.POSITIVE_INFINITY;
    this.#nextPing = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const wait = Math.min(this.#deadline, this.#nextPing) - Date.now();
    this.#timer = setTimeout(() => this.#check(), Math.max(0, wait));
  }

  #check(): void {
    const now = Date.now();
    if (now >= this.#deadline) {
      const why = this.#why;
      this.stop();
      this.#events.dead(why);
      return;
    }
    if (now >= this.#nextPing) {
      if (this.#pingAt !== null && this.#receivedAt < this.#pingAt) this.#events.missed();
      this.#pingAt = null; // the next answer belongs to the next ping
      this.pinged();
      this.#events.ping();
      return;
    }
    this.#arm();
  }
}
