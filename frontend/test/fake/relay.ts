/**
 * A fake relay that a test controls: it answers from memory as the contract says, and has faults on demand. It can be
 * silent, refuse, restart and lose its Redis within a millisecond. The real relay has its own tests.
 */

import { readFile } from "node:fs/promises";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import type { WebSocket } from "ws";
import { WebSocketServer } from "ws";
import type { FakeEvent } from "./runs";
import { ENDED, FakeRun } from "./runs";

export interface Faults {
  /** `refuse` answers the upgrade with 403; `silent` accepts it and never sends a frame. */
  websocket: "none" | "refuse" | "silent";
  sse: "none" | "refuse" | "silent";
  upstream: "up" | "down";
}

interface Watcher {
  readonly send: (frame: Record<string, unknown>) => void;
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".mp4": "video/mp4",
  ".jpg": "image/jpeg",
};

export class FakeRelay {
  readonly runs = new Map<string, FakeRun>();
  readonly faults: Faults = { websocket: "none", sse: "none", upstream: "up" };
  readonly files = new Map<string, Buffer>();
  readonly requests: string[] = [];
  pipelines: unknown[] = [];
  /** Whether the work of a run that no pipeline started can be stopped. */
  cancellable = true;
  /** A token that every request has to have; null: none is needed. */
  token: string | null = null;
  port = 0;
  #server: Server | null = null;
  #sockets: WebSocketServer | null = null;
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #feeds = new Set<Watcher>();
  readonly #streams = new Set<ServerResponse>();
  readonly #holds = new Map<string, Set<() => void>>();
  #started = 0;

  /** `root` is the folder with the built page; null for the API only. */
  constructor(readonly root: string | null = null) {}

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
    const sockets = new WebSocketServer({ noServer: true });
    server.on("upgrade", (request, socket, head) => {
      this.requests.push(`WS ${request.url ?? ""}`);
      if (this.faults.websocket === "refuse")
        return socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
      const token = new URL(request.url ?? "", "http://relay").searchParams.get("token");
      sockets.handleUpgrade(request, socket, head, (client) => {
        if (this.token === null || token === this.token) return this.#serve(client);
        client.send(JSON.stringify({ type: "error", code: 4401, message: "a token is needed" }));
        client.close(4401);
      });
    });
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve));
    this.port = (server.address() as AddressInfo).port;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** Cut every connection, as a kill -9 does. */
  async stop(): Promise<void> {
    for (const client of this.#sockets?.clients ?? []) client.terminate();
    const server = this.#server;
    this.#server = null;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server === null ? resolve() : server.close(() => resolve())));
    this.#watchers.clear();
    this.#feeds.clear();
    this.#streams.clear();
    this.#holds.clear();
  }

  /** Cut every WebSocket, with a close code, or without one (null). */
  cut(code: number | null = null, reason = ""): void {
    for (const client of this.#sockets?.clients ?? [])
      code === null ? client.terminate() : client.close(code, reason);
  }

  get socketCount(): number {
    return this.#sockets?.clients.size ?? 0;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  publish(runId: string, event: FakeEvent, now = Date.now()): void {
    let run = this.runs.get(runId);
    if (run === undefined) {
      run = new FakeRun(runId, now);
      this.runs.set(runId, run);
    }
    const before = run.status;
    const frame = run.commit(event, now);
    for (const watcher of this.#watchers.get(runId) ?? []) watcher.send(frame);
    for (const release of this.#holds.get(runId) ?? []) release();
    this.#holds.delete(runId);
    const summary = { type: "run", ...run.summary() };
    for (const feed of this.#feeds) feed.send(summary);
    if (ENDED.includes(run.status) && !ENDED.includes(before)) {
      for (const watcher of this.#watchers.get(runId) ?? []) watcher.send({ type: "end", run_id: runId });
    }
  }

  setUpstream(status: "up" | "down"): void {
    this.faults.upstream = status;
    const all = new Set([...this.#feeds, ...[...this.#watchers.values()].flatMap((set) => [...set])]);
    for (const watcher of all) watcher.send({ type: "upstream", status });
  }

  // --- WebSocket -----------------------------------------------------------------------------------------------

  #serve(client: WebSocket): void {
    if (this.faults.websocket === "silent") return;
    const watcher: Watcher = { send: (frame) => client.send(JSON.stringify(frame)) };
    client.on("message", (data) => {
      const message = JSON.parse(String(data)) as {
        type: string;
        run_id?: string;
        after?: string;
        runs?: boolean;
      };
      if (message.type === "ping") watcher.send({ type: "pong" });
      else if (message.runs === true) {
        if (message.type === "subscribe") {
          this.#feeds.add(watcher);
          watcher.send({ type: "subscribed", runs: true });
        } else this.#feeds.delete(watcher);
      } else if (message.run_id !== undefined) {
        this.#watchers.get(message.run_id)?.delete(watcher);
        if (message.type === "subscribe") this.#join(message.run_id, message.after ?? null, watcher);
      }
    });
    client.on("close", () => {
      this.#feeds.delete(watcher);
      for (const set of this.#watchers.values()) set.delete(watcher);
    });
  }

  #join(runId: string, after: string | null, watcher: Watcher): void {
    if (this.faults.upstream === "down") watcher.send({ type: "upstream", status: "down" });
    const run = this.runs.get(runId);
    const missed = run === undefined || after === null ? null : run.missed(after);
    if (run === undefined)
      watcher.send({
        type: "initial_state",
        run_id: runId,
        state: null,
        progress: null,
        logs: [],
        status: "unknown",
        seq: 0,
        id: "0-0",
      });
    else if (missed === null)
      watcher.send({ type: "initial_state", ...run.snapshot(), recovered: after === null });
    else if (missed.length === 0) watcher.send({ type: "resumed", run_id: runId, id: run.cursor });
    else for (const frame of missed) watcher.send(frame);
    if (run !== undefined && ENDED.includes(run.status)) watcher.send({ type: "end", run_id: runId });
    let set = this.#watchers.get(runId);
    if (set === undefined) {
      set = new Set();
      this.#watchers.set(runId, set);
    }
    set.add(watcher);
  }

  // --- HTTP ----------------------------------------------------------------------------------------------------

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://relay");
    const method = request.method ?? "GET";
    this.requests.push(`${method} ${url.pathname}${url.search}`);
    // Pages of other origins may use this relay: the tests of `baseUrl` need it.
    response.setHeader("access-control-allow-origin", request.headers.origin ?? "*");
    response.setHeader("access-control-allow-headers", "authorization, content-type, last-event-id");
    response.setHeader("access-control-allow-methods", "GET, POST, DELETE");
    if (method === "OPTIONS") return void response.writeHead(204).end();
    const json = (status: number, body: unknown) => {
      response.writeHead(status, {
        "content-type": status < 400 ? "application/json" : "application/problem+json",
        "cache-control": "no-store",
      });
      response.end(JSON.stringify(body));
    };
    const [, api, kind, rawId, action, name] = url.pathname.split("/");
    if (api !== "api") return this.#file(url.pathname, response);
    const given = request.headers.authorization?.replace("Bearer ", "") ?? url.searchParams.get("token");
    if (this.token !== null && given !== this.token) {
      return json(401, { title: "Unauthorized", status: 401, detail: "a token is needed" });
    }
    if (kind === "pipelines") return json(200, { pipelines: this.pipelines, cancellable: this.cancellable });
    if (kind === "runs" && rawId === undefined) {
      if (method === "POST") return this.#create(request, json);
      return json(200, this.#list(url.searchParams));
    }
    const runId = decodeURIComponent(rawId ?? "");
    const run = this.runs.get(runId);
    if (action === "events") return this.#stream(runId, url.searchParams.get("after"), response);
    if (run === undefined)
      return json(404, { type: "about:blank", title: "Not Found", status: 404, detail: `no run ${runId}` });
    if (action === "cancel" && method === "POST") {
      if (ENDED.includes(run.status))
        return json(409, { title: "Conflict", status: 409, detail: "the run has ended" });
      this.publish(runId, { state: "CANCELLED", log: "cancelled" });
      return json(202, { run_id: runId, status: "cancelled", stops_work: this.cancellable });
    }
    if (action === "retry" && method === "POST") {
      this.publish(runId, { state: "QUEUED", attempt: run.attempt + 1, log: "queued again" });
      return json(202, { run_id: runId, attempt: run.attempt });
    }
    if (method === "DELETE") {
      this.runs.delete(runId);
      for (const feed of this.#feeds) feed.send({ type: "run_deleted", run_id: runId });
      return void response.writeHead(204).end();
    }
    if (action === "logs" && url.searchParams.has("limit")) {
      const before = Number(url.searchParams.get("before") ?? run.lines.length + 1);
      const from = Math.max(run.trimmed, before - 1 - Number(url.searchParams.get("limit")));
      const lines = run.lines
        .slice(from, before - 1)
        .map((line, index) => ({ n: from + index + 1, ...line }));
      return json(200, { run_id: runId, lines, logs_trimmed: run.trimmed, total: run.lines.length });
    }
    if (action === "logs")
      return void response
        .writeHead(200, {
          "content-type": "text/plain; charset=utf-8",
          "content-disposition": `attachment; filename="run.log"; filename*=UTF-8''${encodeURIComponent(runId)}.log`,
        })
        .end(run.lines.map((line) => line.message).join("\n"));
    if (action === "files") {
      const file = this.files.get(decodeURIComponent(name ?? ""));
      if (file === undefined) return json(404, { title: "Not Found", status: 404, detail: "no such file" });
      return this.#range(request, response, file, TYPES[extname(name ?? "")] ?? "application/octet-stream");
    }
    if (this.faults.upstream === "down")
      return json(200, { ...run.polled(url.searchParams.get("after")), stale: true });
    const attempt = Number(url.searchParams.get("attempt") ?? run.attempt);
    if (attempt !== run.attempt) return json(200, run.attempts[attempt - 1]);
    const after = url.searchParams.get("after");
    if (url.searchParams.has("wait") && after === run.cursor) await this.#hold(runId, request);
    if (!response.writableEnded) json(200, run.polled(after));
  }

  #hold(runId: string, request: IncomingMessage): Promise<void> {
    return new Promise((resolve) => {
      const set = this.#holds.get(runId) ?? new Set();
      set.add(resolve);
      this.#holds.set(runId, set);
      request.on("close", resolve);
    });
  }

  #list(query: URLSearchParams): unknown {
    const status = query.get("status");
    const pipeline = query.get("pipeline");
    const q = query.get("q")?.toLowerCase();
    const runs = [...this.runs.values()]
      .filter((run) =>
        status === "active" ? !ENDED.includes(run.status) : status === null || run.status === status,
      )
      .filter((run) => pipeline === null || run.pipeline === pipeline)
      .filter((run) => q === undefined || `${run.runId} ${run.title ?? ""}`.toLowerCase().includes(q))
      .sort((a, b) => b.created_at - a.created_at);
    const from = Number(query.get("cursor") ?? 0);
    const limit = Number(query.get("limit") ?? 50);
    const next_cursor = from + limit < runs.length ? String(from + limit) : null;
    return { runs: runs.slice(from, from + limit).map((run) => run.summary()), next_cursor };
  }

  async #create(request: IncomingMessage, json: (status: number, body: unknown) => void): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(String(Buffer.concat(chunks))) as {
      pipeline: string;
      input: { prompt?: string };
      run_id?: string;
    };
    if ((body.input.prompt ?? "").includes("refuse")) {
      const errors = [{ where: ["input", "prompt"], message: "this prompt is refused" }];
      return json(422, {
        title: "Unprocessable",
        status: 422,
        detail: "input.prompt: this prompt is refused",
        errors,
      });
    }
    this.#started += 1;
    const runId = body.run_id ?? `run-${this.#started}`;
    if (this.runs.has(runId))
      return json(409, { title: "Conflict", status: 409, detail: `run ${runId} exists` });
    this.publish(runId, { state: "QUEUED", title: body.input.prompt, pipeline: body.pipeline });
    json(202, { run_id: runId, links: {} });
  }

  #stream(runId: string, after: string | null, response: ServerResponse): void {
    if (this.faults.sse === "refuse") return void response.writeHead(503).end();
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.flushHeaders();
    this.#streams.add(response);
    const watcher: Watcher = {
      send: (frame) => {
        const id = typeof frame.id === "string" ? `id: ${frame.id}\n` : "";
        response.write(`event: ${String(frame.type)}\n${id}data: ${JSON.stringify(frame)}\n\n`);
        if (frame.type === "end") response.end();
      },
    };
    response.on("close", () => {
      this.#streams.delete(response);
      this.#watchers.get(runId)?.delete(watcher);
    });
    if (this.faults.sse === "none") this.#join(runId, after, watcher);
  }

  async #file(path: string, response: ServerResponse): Promise<void> {
    if (this.root === null) return void response.writeHead(404).end();
    const isPage = extname(path) === "";
    const file = join(this.root, isPage ? "index.html" : normalize(path));
    try {
      const content = await readFile(file);
      // As the relay does: the files of a page are named from where it lies. Here that is always the root.
      const body = isPage ? content.toString().replaceAll(`="./`, `="/`) : content;
      response.writeHead(200, {
        "content-type": TYPES[isPage ? ".html" : extname(path)] ?? "application/octet-stream",
        "content-security-policy":
          "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' ws: wss: http:; frame-ancestors 'none'; base-uri 'self'",
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  }

  #range(request: IncomingMessage, response: ServerResponse, file: Buffer, type: string): void {
    const match = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "");
    if (match === null)
      return void response
        .writeHead(200, { "content-type": type, "accept-ranges": "bytes", "content-length": file.length })
        .end(file);
    const from = Number(match[1]);
    const to = match[2] ? Number(match[2]) : file.length - 1;
    response.writeHead(206, {
      "content-type": type,
      "accept-ranges": "bytes",
      "content-range": `bytes ${from}-${to}/${file.length}`,
      "content-length": to - from + 1,
    });
    response.end(file.subarray(from, to + 1));
  }
}
