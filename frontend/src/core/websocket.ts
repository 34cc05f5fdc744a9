/** One WebSocket `/ws` for all runs of the page. It is used once: the connection reconnects, with a new object. */

import { retryInMsOf } from "./codes.js";
import type { Environment } from "./environment.js";
import { readFrame } from "./frames.js";
import { Liveness } from "./liveness.js";
import type { Transport, TransportClose, TransportEvents } from "./transport.js";
import { broken, UP } from "./transport.js";

export class WebSocketTransport implements Transport {
  readonly kind = "websocket";
  readonly #socket: WebSocket;
  readonly #events: TransportEvents;
  readonly #liveness: Liveness;
  /** Messages to send when the socket opens: the last one about each run. */
  readonly #waiting = new Map<string, string>();
  #proven = false;
  #over = false;
  /** The message of an `error` frame about the connection: it comes before the close and explains it. */
  #explanation: string | null = null;

  /** Throws what `new WebSocket` throws (a malformed address, a Content-Security-Policy). */
  constructor(url: string, environment: Environment, events: TransportEvents) {
    if (environment.WebSocket === undefined) throw new Error("this environment has no WebSocket");
    this.#events = events;
    this.#socket = new environment.WebSocket(url);
    this.#socket.onopen = () => this.#opened();
    this.#socket.onmessage = (message: MessageEvent<unknown>) => this.#received(message.data);
    this.#socket.onclose = (close: CloseEvent) =>
      this.#ended({
        code: close.code === 1006 || close.code === 1005 ? null : close.code,
        message:
          this.#explanation ?? (this.#proven ? "the connection was lost" : "the WebSocket was refused"),
        retryInMs: retryInMsOf(close.reason ?? ""),
      });
    this.#liveness = new Liveness({
      ping: () => this.#send({ type: "ping" }),
      missed: () => this.#events.onMissed(),
      // close() may wait half a minute for an answer of the dead peer. The connection must not wait for it.
      dead: (why) => this.#ended(broken(why)),
    });
  }

  subscribe(runId: string, after: string | null): void {
    const message = { type: "subscribe", run_id: runId, after: after ?? undefined };
    this.#sendWhenOpen(`run ${runId}`, message);
  }

  unsubscribe(runId: string): void {
    if (this.#waiting.delete(`run ${runId}`)) return;
    this.#send({ type: "unsubscribe", run_id: runId });
  }

  subscribeFeed(wanted: boolean): void {
    this.#sendWhenOpen("feed", { type: wanted ? "subscribe" : "unsubscribe", runs: true });
  }

  checkAlive(deadlineMs: number): void {
    if (this.#over) return;
    this.#send({ type: "ping" });
    this.#liveness.pinged(deadlineMs);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#liveness.stop();
    this.#release();
  }

  #opened(): void {
    if (this.#over) return;
    // The first ping's answer proves that frames pass both ways, and measures the latency.
    this.#send({ type: "ping" });
    this.#liveness.pinged();
    for (const message of this.#waiting.values()) this.#socket.send(message);
    this.#waiting.clear();
  }

  #received(data: unknown): void {
    if (this.#over) return;
    const frame = typeof data === "string" ? readFrame(data) : null;
    const latencyMs = this.#liveness.received(frame?.type === "pong");
    // A frame that refuses the connection does not prove the transport.
    const isRefusal = frame?.type === "error" && frame.runId === null;
    if (!this.#proven && !isRefusal) {
      this.#proven = true;
      this.#events.onProven();
      if (frame?.type !== "upstream") this.#events.onFrames([UP]);
    }
    if (latencyMs !== null) this.#events.onLatency(latencyMs);
    this.#events.onAlive();
    if (frame === null || frame.type === "pong") return;
    if (isRefusal) this.#explanation = frame.message;
    this.#events.onFrames([frame]);
  }

  #ended(close: TransportClose): void {
    if (this.#over) return;
    this.#over = true;
    this.#liveness.stop();
    this.#release();
    this.#events.onClose(close);
  }

  /** Detach the handlers before closing: no event of this socket may change the state of a later one. */
  #release(): void {
    this.#socket.onopen = null;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.onerror = null;
    this.#socket.close();
  }

  /** Send now, or when the socket opens: then only the last message about a subject. */
  #sendWhenOpen(subject: string, message: object): void {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
    else this.#waiting.set(subject, JSON.stringify(message));
  }

  #send(message: object): void {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }
}
