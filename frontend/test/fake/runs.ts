/** The fake relay's runs: in memory, folded as the contract says. */

export interface FakeEvent {
  state?: string;
  progress?: number | null;
  log?: string;
  level?: string;
  status?: string;
  step?: string;
  step_status?: string;
  step_progress?: number;
  step_attempt?: number;
  steps?: { name: string; weight: number }[];
  title?: string;
  pipeline?: string;
  error?: string;
  result?: unknown;
  data?: unknown;
  attempt?: number;
}

export interface FakeStep {
  name: string;
  status: string;
  progress: number | null;
  attempt: number;
  weight: number;
  started_at: number | null;
  finished_at: number | null;
  error: string | null;
}

const TERMINAL: Record<string, string> = { END: "succeeded", FAILED: "failed", CANCELLED: "cancelled" };
export const ENDED = ["succeeded", "failed", "cancelled"];

export class FakeRun {
  readonly events: Record<string, unknown>[] = [];
  readonly lines: { seq: number; ts: number; level: string; step: string | null; message: string }[] = [];
  /** How many of the first lines are no longer kept. */
  trimmed = 0;
  epoch = "fakeepoch001";
  state: string | null = null;
  status = "queued";
  progress: number | null = null;
  attempt = 1;
  readonly attempts: Record<string, unknown>[] = [];
  title: string | null = null;
  pipeline: string | null = null;
  error: string | null = null;
  result: unknown = null;
  steps: FakeStep[] = [];
  readonly created_at: number;
  started_at: number | null = null;
  updated_at: number;
  finished_at: number | null = null;

  constructor(
    readonly runId: string,
    now: number,
  ) {
    this.created_at = now;
    this.updated_at = now;
  }

  get seq(): number {
    return this.events.length;
  }

  get cursor(): string {
    return `${this.epoch}-${this.seq}`;
  }

  /** Commit one event; returns its progress frame. */
  commit(event: FakeEvent, now: number): Record<string, unknown> {
    if (event.attempt !== undefined && event.attempt > this.attempt) {
      const { attempt, status, error, result, started_at, finished_at } = this;
      this.attempts.push({ attempt, status, error, result, started_at, finished_at });
      this.attempt = event.attempt;
      Object.assign(this, { progress: null, error: null, result: null, started_at: null, finished_at: null });
      this.steps = this.steps.map(({ name, weight }) => queued(name, weight));
    }
    this.state = event.state ?? this.state;
    this.status =
      event.status ??
      TERMINAL[this.state ?? ""] ??
      (this.state === null || this.state === "QUEUED" ? "queued" : "running");
    if (event.progress !== undefined) this.progress = event.progress;
    if (this.state === "END") this.progress = 1;
    if (this.status === "running") this.started_at ??= now;
    if (ENDED.includes(this.status)) this.finished_at = now;
    this.updated_at = now;
    this.title = event.title ?? this.title;
    this.pipeline = event.pipeline ?? this.pipeline;
    this.error = event.error ?? this.error;
    this.result = event.result ?? this.result;
    if (event.steps !== undefined) this.steps = event.steps.map(({ name, weight }) => queued(name, weight));
    if (event.step !== undefined) this.#commitStep(event, now);
    const { log, ...optional } = event;
    const seq = this.seq + 1;
    if (log !== undefined) {
      this.lines.push({ seq, ts: now, level: event.level ?? "info", step: event.step ?? null, message: log });
    }
    const frame = {
      level: "info",
      ...optional,
      type: "progress",
      run_id: this.runId,
      state: this.state,
      progress: this.progress,
      message: log ?? "",
      status: this.status,
      attempt: this.attempt,
      seq,
      id: `${this.epoch}-${seq}`,
      ts: now,
    };
    this.events.push(frame);
    return frame;
  }

  summary(): Record<string, unknown> {
    const {
      state,
      progress,
      status,
      attempt,
      title,
      pipeline,
      error,
      created_at,
      started_at,
      updated_at,
      finished_at,
    } = this;
    const position = { seq: this.seq, id: this.cursor };
    const times = { created_at, started_at, updated_at, finished_at };
    return {
      run_id: this.runId,
      state,
      progress,
      status,
      attempt,
      ...position,
      title,
      pipeline,
      error,
      ...times,
      stale: false,
    };
  }

  snapshot(): Record<string, unknown> {
    const lines = this.lines.slice(-1_000);
    const logs = lines.map((line) => line.message);
    const logs_truncated = this.lines.length - lines.length;
    const logs_trimmed = this.trimmed;
    return { ...this.summary(), logs, logs_truncated, logs_trimmed, steps: this.steps, result: this.result };
  }

  polled(after: string | null): Record<string, unknown> {
    const whole = {
      ...this.snapshot(),
      epoch: this.epoch,
      log_lines: this.lines.slice(-1_000),
      attempts: this.attempts,
    };
    if (after === null) return whole;
    const missed = this.missed(after);
    return { ...whole, events: missed ?? [], recovered: missed !== null };
  }

  /** The frames after a cursor; null when the log cannot be continued from it. */
  missed(after: string): Record<string, unknown>[] | null {
    const [epoch, seq] = after.split("-");
    if (epoch !== this.epoch || Number(seq) > this.seq) return null;
    return this.events.slice(Number(seq));
  }

  #commitStep(event: FakeEvent, now: number): void {
    let step = this.steps.find(({ name }) => name === event.step);
    if (step === undefined) {
      step = queued(event.step ?? "", 1);
      this.steps = [...this.steps, step];
    }
    step.status = event.step_status ?? (step.status === "queued" ? "running" : step.status);
    step.progress = event.step_progress ?? step.progress;
    step.attempt = event.step_attempt ?? step.attempt;
    if (step.status !== "queued") step.started_at ??= now;
    if (ENDED.includes(step.status)) step.finished_at = now;
    if (step.status === "failed") step.error = event.error ?? null;
  }
}

function queued(name: string, weight: number): FakeStep {
  const times = { started_at: null, finished_at: null };
  return { name, weight, status: "queued", progress: null, attempt: 1, ...times, error: null };
}
