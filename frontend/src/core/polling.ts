/** Polling one run: `GET /api/runs/{run_id}?after=<cursor>&wait=25`, as transport-neutral frames. */

import { CloseCode } from "./codes.js";
import { START } from "./cursor.js";
import type { Environment } from "./environment.js";
import type { Frame, Snapshot } from "./frames.js";
import { list, readEvent, readSnapshot } from "./frames.js";
import { isUpstreamDown, jsonOf, problemOf, RelayError } from "./problem.js";
import type { TransportClose } from "./transport.js";
import { broken, DEAD_AFTER_MS } from "./transport.js";
import { isEnded } from "./types.js";

const HOLD_S = 25;
/** The wait between polls that the server does not hold, as in the original client (S1). */
const PAUSE_MS = 2_000;

export interface PollEvents {
  onAnswer(frames: readonly Frame[], tookMs: number | null): void;
  onClose(close: TransportClose): void;
}

export interface PollRequest {
  readonly address: (query: Record<string, string | null>) => string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A loop of requests for one run, from `start()` to `stop()` or `onClose`. */
export class PollLoop {
  readonly #runId: string;
  readonly #request: PollRequest;
  readonly #environment: Environment;
  readonly #events: PollEvents;
  /**
   * Whether the server may hold a request. A browser has six HTTP/1.1 connections to a host, and the page needs some.
   */
  readonly #mayHold: () => boolean;
  #after: string | null;
  #quick = true;
  /** Null before the first answer. */
  #upstreamDown: boolean | null = null;
  /** The wait before the next poll that is not held, in ms. */
  #pauseMs = PAUSE_MS;
  #abort: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(
    runId: string,
    after: string | null,
    request: PollRequest,
    environment: Environment,
    mayHold: () => boolean,
    events: PollEvents,
  ) {
    this.#runId = runId;
    this.#after = after;
    this.#request = request;
    this.#environment = environment;
    this.#mayHold = mayHold;
    this.#events = events;
  }

  start(): void {
    void this.#poll();
  }

  /** Poll now, and do not let the server hold the request: its answer proves that the relay is there. */
  hurry(): void {
    this.#abort?.abort();
    clearTimeout(this.#timer);
    this.#quick = true;
    void this.#poll();
  }

  stop(): void {
    this.#stopped = true;
    this.#abort?.abort();
    clearTimeout(this.#timer);
  }

  async #poll(): Promise<void> {
    // The first answer proves the transport, so the server must not hold it.
    const hold = !this.#quick && this.#mayHold();
    const owner = new AbortController();
    this.#abort = owner;
    const deadline = setTimeout(
      () => owner.abort("deadline"),
      hold ? HOLD_S * 1_000 + DEAD_AFTER_MS : 15_000,
    );
    const begunAt = Date.now();
    try {
      const query = { after: this.#after, wait: hold ? String(HOLD_S) : null };
      const response = await this.#environment.fetch(this.#request.address(query), {
        headers: this.#request.headers,
        signal: owner.signal,
        cache: "no-store",
      });
      const frames = await this.#read(response);
      if (this.#stopped || this.#abort !== owner) return;
      this.#quick = false;
      this.#events.onAnswer(frames, hold ? null : Date.now() - begunAt);
      if (frames.some((frame) => frame.type === "end")) return this.stop();
      // No wait after a held request. But an answer that was not held although it could be (Redis is away, the run log
      // is
      // gone) would come at once again, so wait.
      const wasHeld = hold && response.status === 200 && !this.#upstreamDown;
      this.#timer = setTimeout(() => void this.#poll(), wasHeld ? 0 : this.#pauseMs);
    } catch (error) {
      // stop() or a newer poll has replaced this one: its failure means nothing.
      if (this.#stopped || this.#abort !== owner) return;
      this.#stopped = true;
      this.#events.onClose(closeOf(error));
    } finally {
      clearTimeout(deadline);
    }
  }

  async #read(response: Response): Promise<Frame[]> {
    if (response.status === 304) return [];
    this.#pauseMs = PAUSE_MS;
    if (response.status === 404)
      return [...this.#upstream(false), { type: "initial_state", snapshot: this.#unknown() }];
    if (!response.ok) {
      const problem = await problemOf(response);
      if (!isUpstreamDown(problem)) throw problem;
      this.#pauseMs = Math.max(PAUSE_MS, problem.retryAfterMs);
      return this.#upstream(true);
    }
    const body = await jsonOf(response);
    const snapshot = readSnapshot(body);
    if (snapshot === null) throw new Error("the answer is not a run");
    return this.#framesOf(body, snapshot);
  }

  #framesOf(body: unknown, snapshot: Snapshot): Frame[] {
    const frames = this.#upstream(snapshot.stale);
    const events = (body as { events?: unknown }).events;
    if (this.#after !== null && snapshot.recovered && Array.isArray(events)) {
      for (const event of list(events, readEvent)) frames.push({ type: "progress", event });
      frames.push({ type: "resumed", runId: this.#runId });
    } else frames.push({ type: "initial_state", snapshot });
    if (!snapshot.stale && snapshot.cursor !== START) this.#after = snapshot.cursor;
    if (!snapshot.stale && isEnded(snapshot.status)) frames.push({ type: "end", runId: this.#runId });
    return frames;
  }

  /** The `upstream` frame, if the state of the relay's Redis has changed. */
  #upstream(isDown: boolean): Frame[] {
    if (isDown === this.#upstreamDown) return [];
    this.#upstreamDown = isDown;
    return [{ type: "upstream", status: isDown ? "down" : "up" }];
  }

  #unknown(): Snapshot {
    return readSnapshot({ run_id: this.#runId }) as Snapshot; // all other fields are unknown
  }
}

/** The close of a transport that an error of the HTTP API stands for. */
export function closeOf(error: unknown): TransportClose {
  if (!(error instanceof RelayError)) return broken("the relay cannot be reached");
  const code =
    {
      400: CloseCode.BAD_REQUEST,
      401: CloseCode.UNAUTHORIZED,
      403: CloseCode.FORBIDDEN,
      409: CloseCode.NOT_A_RUN,
      429: CloseCode.TOO_MANY,
    }[error.status] ?? null;
  return { code, message: error.message, retryInMs: error.retryAfterMs };
}
