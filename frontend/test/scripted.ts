/** A scripted browser: the test controls its sockets, streams, requests and signals. */

import type { Environment, PageSignal } from "../src/core/environment";
import type { EventStreamEvents, EventStreamOpener } from "../src/core/eventStream";
import type { TransportClose } from "../src/core/transport";
import { broken } from "../src/core/transport";

export class ScriptedSocket {
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readyState = 0;
  readonly sent: Record<string, unknown>[] = [];
  closedByUs = false;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.closedByUs = true;
    this.readyState = 3;
  }

  // --- what the relay does
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  receive(frame: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** Open, and answer the first ping. */
  prove(): void {
    this.open();
    this.receive({ type: "pong" });
  }

  drop(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  subscriptions(): unknown[] {
    return this.sent.filter((frame) => frame.type === "subscribe").map((frame) => frame.run_id ?? "runs");
  }
}

export class ScriptedStream {
  closed = false;

  constructor(
    readonly url: string,
    readonly headers: Readonly<Record<string, string>>,
    readonly events: EventStreamEvents,
  ) {}

  open(): void {
    if (!this.closed) this.events.onOpen();
  }

  receive(frame: Record<string, unknown>): void {
    this.event(String(frame.type), JSON.stringify(frame));
  }

  /** An event of the stream. Its data may be no frame, as in other relays' `end` and `heartbeat`. */
  event(name: string, data: string): void {
    if (!this.closed) this.events.onEvent(name, data);
  }

  /** Break the stream. */
  fail(): void {
    this.end(broken("the event stream broke"));
  }

  end(end: TransportClose | null): void {
    if (this.closed) return;
    this.closed = true;
    this.events.onEnd(end);
  }
}

export interface ScriptedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly aborted: () => boolean;
  answer(status: number, body?: unknown, headers?: Record<string, string>): Promise<void>;
  fail(): Promise<void>;
}

export class ScriptedBrowser {
  readonly sockets: ScriptedSocket[] = [];
  readonly streams: ScriptedStream[] = [];
  readonly requests: ScriptedRequest[] = [];
  hidden = false;
  online = true;
  random = 0.5;
  readonly environment: Environment;
  readonly #signals = new Set<(signal: PageSignal) => void>();

  constructor(without: readonly ("WebSocket" | "eventStream")[] = []) {
    const { sockets, streams } = this;
    class Socket extends ScriptedSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    }
    const openStream: EventStreamOpener = (url, headers, events) => {
      const stream = new ScriptedStream(url, headers, events);
      streams.push(stream);
      return () => {
        stream.closed = true;
      };
    };
    this.environment = {
      WebSocket: without.includes("WebSocket") ? undefined : (Socket as unknown as typeof WebSocket),
      eventStream: without.includes("eventStream") ? undefined : openStream,
      fetch: (input, init) => this.#fetch(String(input), init ?? {}),
      random: () => this.random,
      origin: "http://page",
      isHidden: () => this.hidden,
      isOnline: () => this.online,
      onSignal: (listener) => {
        this.#signals.add(listener);
        return () => this.#signals.delete(listener);
      },
    };
  }

  get socket(): ScriptedSocket {
    return last(this.sockets, "socket");
  }

  get stream(): ScriptedStream {
    return last(this.streams, "stream");
  }

  get request(): ScriptedRequest {
    return last(this.requests, "request");
  }

  /** The number of listeners for page signals: without a watched run it has to be 0. */
  get listenerCount(): number {
    return this.#signals.size;
  }

  signal(signal: PageSignal): void {
    if (signal === "online" || signal === "offline") this.online = signal === "online";
    else this.hidden = signal === "hidden";
    for (const listener of [...this.#signals]) listener(signal);
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    return new Promise((resolve, reject) => {
      init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      const settle = async () => {
        // json() and the client's awaits need a few turns of the microtask queue
        for (let turn = 0; turn < 30; turn += 1) await Promise.resolve();
      };
      this.requests.push({
        url,
        method: init.method ?? "GET",
        headers: (init.headers ?? {}) as Record<string, string>,
        aborted: () => init.signal?.aborted ?? false,
        answer: (status, body, headers) => {
          const text = body === undefined ? null : JSON.stringify(body);
          resolve(new Response(text, { status, headers }));
          return settle();
        },
        fail: () => {
          reject(new TypeError("failed to fetch"));
          return settle();
        },
      });
    });
  }
}

function last<T>(items: readonly T[], what: string): T {
  const item = items.at(-1);
  if (item === undefined) throw new Error(`no ${what} was made yet`);
  return item;
}

// --- frames ------------------------------------------------------------------------------------------------------

export const EPOCH = "epoch0000001";

export function progress(seq: number, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: "progress",
    run_id: "r",
    state: "RENDERING",
    progress: seq / 100,
    message: `line ${seq}`,
    status: "running",
    level: "info",
    attempt: 1,
    seq,
    id: `${EPOCH}-${seq}`,
    ts: 1_000_000 + seq * 1_000,
    ...fields,
  };
}

export function initial(seq: number, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: "initial_state",
    run_id: "r",
    state: "RENDERING",
    progress: seq / 100,
    logs: Array.from({ length: seq }, (_, index) => `line ${index + 1}`),
    logs_truncated: 0,
    status: "running",
    attempt: 1,
    seq,
    id: `${EPOCH}-${seq}`,
    recovered: true,
    title: null,
    pipeline: null,
    steps: [],
    result: null,
    error: null,
    created_at: 1_000_000,
    started_at: 1_000_000,
    updated_at: 1_000_000 + seq * 1_000,
    finished_at: null,
    stale: false,
    ...fields,
  };
}
