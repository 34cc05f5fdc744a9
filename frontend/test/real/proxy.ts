/** A TCP proxy between browser and relay, as a bad network: the test decides what passes. */

import type { IncomingMessage, Server } from "node:http";
import { request as ask, createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:net";
import type { Duplex } from "node:stream";

export class FaultProxy {
  websocket: "pass" | "refuse" | "silent" = "pass";
  sse: "pass" | "refuse" = "pass";
  #server: Server | null = null;
  #port = 0;
  readonly #upgraded = new Set<Duplex>();
  readonly #open = new Set<Socket>();

  constructor(private readonly target: number) {}

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      if (this.sse === "refuse" && (request.url ?? "").includes("/events"))
        return void response.writeHead(503).end();
      // A new connection for each request: the relay may close a kept one just when it is used again.
      const onward = ask({ ...this.#options(request), agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on("error", () => response.destroy());
      });
      onward.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
      response.on("close", () => onward.destroy());
      request.pipe(onward);
    });
    server.on("connection", (socket) => {
      this.#open.add(socket);
      socket.on("close", () => this.#open.delete(socket));
    });
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Cut every WebSocket. */
  cut(): void {
    for (const socket of this.#upgraded) socket.destroy();
  }

  /** Cut every connection. */
  cutAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cutAll();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }

  #options(request: IncomingMessage) {
    const { method, url: path, headers } = request;
    return { host: "127.0.0.1", port: this.target, method, path, headers };
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    if (this.websocket === "refuse")
      return void socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    this.#upgraded.add(socket);
    const relay = connect(this.target, "127.0.0.1", () => {
      const headers = request.rawHeaders.reduce(
        (text, part, index) => text + part + (index % 2 === 0 ? ": " : "\r\n"),
        "",
      );
      relay.write(`GET ${request.url} HTTP/1.1\r\n${headers}\r\n`);
      relay.write(head);
      socket.pipe(relay);
      if (this.websocket === "silent") {
        // the handshake passes, but no frame
        relay.once("data", (handshake: Buffer) => {
          socket.write(handshake.subarray(0, handshake.indexOf("\r\n\r\n") + 4));
          relay.resume();
        });
      } else relay.pipe(socket);
    });
    relay.on("error", () => socket.destroy());
    relay.on("close", () => socket.destroy());
    socket.on("close", () => {
      this.#upgraded.delete(socket);
      relay.destroy();
    });
  }
}
