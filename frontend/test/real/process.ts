/** A child process that a test owns: it is started, waited for, and always ended. */

import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createServer } from "node:net";

export class Process {
  readonly #child: ChildProcess;
  #output = "";

  constructor(command: string, args: readonly string[], env: Record<string, string | undefined>) {
    // a process group of its own: the signal reaches a worker's children, too
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, detached: true });
    const keep = (text: Buffer) => {
      this.#output = (this.#output + text.toString()).slice(-20_000);
    };
    this.#child.stdout?.on("data", keep);
    this.#child.stderr?.on("data", keep);
  }

  get output(): string {
    return this.#output;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#child.pid !== undefined && !this.hasEnded) process.kill(-this.#child.pid, signal);
  }

  /** Send a signal, and wait until the process has ended. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.hasEnded) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.signal(signal);
    await ended;
  }

  /** Write a line, and wait for the line that answers it. */
  ask(line: string): Promise<string> {
    return new Promise((resolve) => {
      this.#child.stdout?.once("data", (text: Buffer) => resolve(text.toString().trim()));
      this.#child.stdin?.write(`${line}\n`);
    });
  }
}

/** Poll a condition until it holds. Throws at the deadline, with the name of the condition. */
export async function until(
  what: string | (() => string),
  holds: () => Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > deadline)
      throw new Error(`waited ${timeoutMs} ms in vain for ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        address !== null && typeof address === "object"
          ? resolve(address.port)
          : reject(new Error("no port")),
      );
    });
  });
}
