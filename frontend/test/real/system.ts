/** The real system: Valkey, a relay, a worker and a publisher, each a process of its own on free ports. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, Process, until } from "./process";

const ROOT = join(import.meta.dirname, "../../..");
const PYTHON = join(ROOT, ".venv/bin/python");
const RUNRELAY = join(ROOT, ".venv/bin/runrelay");

/** Why the real system cannot be started here, or null when it can. */
export function missing(): string | null {
  if (!existsSync(RUNRELAY)) return "no .venv with runrelay: make setup";
  return existsSync(join(ROOT, "backend/runrelay/dashboard/index.html"))
    ? null
    : "no built dashboard: make setup";
}

export interface Event {
  run_id: string;
  state?: string;
  progress?: number;
  log?: string;
  [field: string]: unknown;
}

export class RealSystem {
  relayPort = 0;
  #folder = "";
  #valkeyPort = 0;
  #valkey: Process | null = null;
  #relay: Process | null = null;
  #worker: Process | null = null;
  #publisher: Process | null = null;

  get url(): string {
    return `http://127.0.0.1:${this.relayPort}`;
  }

  get #env(): Record<string, string> {
    const redis = `redis://127.0.0.1:${this.#valkeyPort}/0`;
    // Films are made offline, also on a machine that has API keys.
    return {
      REDIS_URL: redis,
      CELERY_BROKER_URL: redis,
      RUNRELAY_FILES: join(this.#folder, "files"),
      OPENAI_API_KEY: "",
    };
  }

  async start(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), "runrelay-real-"));
    this.#valkeyPort = await freePort();
    this.relayPort = await freePort();
    const program = ["-c", "from runrelay.cli.embedded_valkey import valkey_binary; print(valkey_binary())"];
    const binary = execFileSync(PYTHON, program, { encoding: "utf8" }).trim();
    const settings = [
      "--port",
      String(this.#valkeyPort),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--dir",
      this.#folder,
    ];
    this.#valkey = new Process(binary, settings, {});
    await until("Valkey", () => canConnect(this.#valkeyPort));
    this.#publisher = new Process(PYTHON, [join(ROOT, "frontend/test/real/publisher.py")], this.#env);
    await this.startRelay();
  }

  async startRelay(): Promise<void> {
    const relay = new Process(RUNRELAY, ["serve", "--port", String(this.relayPort)], this.#env);
    this.#relay = relay;
    await until(
      `the relay to be ready:\n${relay.output}`,
      async () => (await fetch(`${this.url}/readyz`)).ok,
    );
  }

  async killRelay(): Promise<void> {
    await this.#relay?.end("SIGKILL");
  }

  /** Stop the relay as a supervisor does, and start it again on its port. */
  async restartRelay(): Promise<void> {
    await this.#relay?.end("SIGTERM");
    await this.startRelay();
  }

  async startWorker(): Promise<void> {
    const worker = new Process(RUNRELAY, ["worker", "--concurrency", "2"], this.#env);
    this.#worker = worker;
    await until(
      () => `the worker to be ready:\n${worker.output}`,
      async () => worker.output.includes(" ready."),
      60_000,
    );
  }

  /** Redis answers nothing and keeps its connections open: the hardest way to be away. */
  pauseValkey(): void {
    this.#valkey?.signal("SIGSTOP");
  }

  resumeValkey(): void {
    this.#valkey?.signal("SIGCONT");
  }

  /** Publish as a worker does. Resolves when all events are committed. */
  async publish(...events: Event[]): Promise<void> {
    const answer = await this.#publisher?.ask(JSON.stringify(events));
    if (answer !== "committed") throw new Error(`not committed: ${this.#publisher?.output}`);
  }

  async logsOf(runId: string): Promise<string[]> {
    const answer = await fetch(`${this.url}/api/runs/${encodeURIComponent(runId)}`);
    return ((await answer.json()) as { logs: string[] }).logs;
  }

  async stop(): Promise<void> {
    this.resumeValkey();
    for (const child of [this.#publisher, this.#worker, this.#relay, this.#valkey])
      await child?.end("SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
