/** The relay's HTTP API, typed. A refused request rejects with a `RelayError` that carries the problem document. */

import type { Environment } from "./environment.js";
import type { ProgressEvent, Snapshot } from "./frames.js";
import { list, readEvent, readLogLine, readSnapshot, readSummary } from "./frames.js";
import { jsonOf, problemOf, RelayError } from "./problem.js";
import type { Fields } from "./readers.js";
import { isFields, number, status, text } from "./readers.js";
import type { Json, LogLine, RunStatus, RunSummary, StatusFilter } from "./types.js";
import type { RelayUrls } from "./urls.js";

export interface RunFilter {
  /** One status, or `active` or `ended` for several. */
  readonly status?: StatusFilter;
  readonly pipeline?: string;
  /** Text that the run id or the title contains, in any case. */
  readonly q?: string;
  readonly limit?: number;
}

export interface RunPage {
  readonly runs: readonly RunSummary[];
  readonly nextCursor: string | null;
}

/** What the relay can do for the runs of a pipeline. */
export interface Abilities {
  readonly cancel: boolean;
  readonly retry: boolean;
}

/** What is kept of an earlier attempt of a run. */
export interface PastAttempt {
  readonly attempt: number;
  /** The status that it had last. */
  readonly status: RunStatus;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly error: string | null;
  /** In a list always null: see `attempt`. */
  readonly result: Json;
}

function readPastAttempt(value: unknown): PastAttempt | null {
  if (!isFields(value)) return null;
  return {
    attempt: number(value.attempt) ?? 0,
    status: status(value.status) ?? "unknown",
    startedAt: number(value.started_at),
    finishedAt: number(value.finished_at),
    error: text(value.error),
    result: (value.result ?? null) as Json,
  };
}

/** Consecutive lines of a run's log. */
export interface LogPage {
  /** Their `key` is their number in the run, from 1. */
  readonly lines: readonly LogLine[];
  /** How many of the run's first lines are no longer kept. */
  readonly trimmed: number;
}

export interface PipelineInfo {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** JSON Schema of the start form. */
  readonly inputSchema: Readonly<Record<string, unknown>>;
}

export class RelayApi {
  readonly urls: RelayUrls;
  readonly #environment: Environment;
  readonly #knownToken: () => string | null;
  readonly #token: (renew: boolean) => Promise<string | null> | string | null;

  constructor(
    urls: RelayUrls,
    environment: Environment,
    token: (renew: boolean) => Promise<string | null> | string | null,
    knownToken: () => string | null,
  ) {
    this.#knownToken = knownToken;
    this.urls = urls;
    this.#environment = environment;
    this.#token = token;
  }

  async snapshot(runId: string, signal?: AbortSignal): Promise<Snapshot> {
    const snapshot = readSnapshot(await this.#get(this.urls.run(runId), {}, signal));
    if (snapshot === null) throw new RelayError(502, "the answer is not a run");
    return snapshot;
  }

  /** The earlier attempts of a run that are kept, oldest first, without their results. */
  async attempts(runId: string, signal?: AbortSignal): Promise<readonly PastAttempt[]> {
    return list((await this.#get(this.urls.run(runId), {}, signal)).attempts, readPastAttempt);
  }

  /** An earlier attempt of a run, with its whole error and result. Rejects with 404 when it is no longer kept. */
  async attempt(runId: string, attempt: number, signal?: AbortSignal): Promise<PastAttempt | null> {
    return readPastAttempt(await this.#get(this.urls.run(runId), { attempt: `${attempt}` }, signal));
  }

  /** All events of the run log, oldest first. Empty when the log no longer has its first event. */
  async events(runId: string, epoch: string, signal?: AbortSignal): Promise<readonly ProgressEvent[]> {
    const body = await this.#get(this.urls.run(runId), { after: `${epoch}-0` }, signal);
    return body.recovered === false ? [] : list(body.events, readEvent);
  }

  /** The lines of a run's log right before the line of number `before` (the newest by default), 1,000 at most. */
  async logs(runId: string, before?: number, signal?: AbortSignal): Promise<LogPage> {
    const query = { before: before?.toString(), limit: "1000" };
    const body = await this.#get(`${this.urls.run(runId)}/logs`, query, signal);
    return {
      lines: list(body.lines, readLogLine).map((line) => ({ ...line, key: line.n, attempt: null })),
      trimmed: Number(body.logs_trimmed),
    };
  }

  async runs(filter: RunFilter = {}, cursor: string | null = null, signal?: AbortSignal): Promise<RunPage> {
    const { status, pipeline, q, limit } = filter;
    const query = { status, pipeline, q, limit: limit?.toString(), cursor };
    const body = await this.#get("/api/runs", query, signal);
    return {
      runs: list(body.runs, readSummary),
      nextCursor: text(body.next_cursor),
    };
  }

  async pipelines(signal?: AbortSignal): Promise<readonly PipelineInfo[]> {
    const body = await this.#get("/api/pipelines", {}, signal);
    return list(body.pipelines, (item) => item as Fields).map((item) => ({
      name: String(item.name),
      title: String(item.title || item.name),
      description: String(item.description ?? ""),
      inputSchema: (item.input_schema ?? {}) as Fields,
    }));
  }

  /**
   * Whether `cancel` stops the work of a run of this pipeline, and whether `retry` can start it again; null: of a run
   * that no pipeline started. A relay that does not say whether it stops work is taken for one that does.
   */
  async abilities(pipeline: string | null, signal?: AbortSignal): Promise<Abilities> {
    const body = await this.#get("/api/pipelines", {}, signal);
    const known = list(body.pipelines, (item) => item as Fields).find(({ name }) => name === pipeline);
    return { cancel: (known ?? body).cancellable !== false, retry: known !== undefined };
  }

  /** Start a run. Resolves with its id when it is queued; rejects with a `RelayError` when it was refused. */
  async start(pipeline: string, input: unknown, runId?: string): Promise<string> {
    const body = JSON.stringify({ pipeline, input, run_id: runId });
    const answer = (await this.#json(this.urls.http("/api/runs"), { method: "POST", body })) as {
      run_id?: unknown;
    };
    if (typeof answer.run_id !== "string") throw new RelayError(502, "the answer has no run_id");
    return answer.run_id;
  }

  /** End a run as cancelled. Resolves with whether its work is being stopped. */
  async cancel(runId: string): Promise<boolean> {
    const url = this.urls.http(`${this.urls.run(runId)}/cancel`);
    const answer = (await this.#json(url, { method: "POST" })) as Record<string, unknown>;
    return answer.stops_work !== false;
  }

  async retry(runId: string): Promise<void> {
    await this.#send(this.urls.http(`${this.urls.run(runId)}/retry`), { method: "POST" });
  }

  async delete(runId: string): Promise<void> {
    await this.#send(this.urls.http(this.urls.run(runId)), { method: "DELETE" });
  }

  /**
   * The address of a run's log as text, for an `<a>`. The token is in the address, because a link cannot send headers.
   * With `details` each line begins with its time, level and step.
   */
  logsUrl(runId: string, { details = false } = {}): string {
    const query = { token: this.#knownToken(), details: details ? "true" : null };
    return this.urls.http(`${this.urls.run(runId)}/logs`, query);
  }

  /** The address of a file that a run made, for an `<a>` or a player. It has the token, too. */
  fileUrl(runId: string, name: string): string {
    const path = `${this.urls.run(runId)}/files/${encodeURIComponent(name)}`;
    return this.urls.http(path, { token: this.#knownToken() });
  }

  async headers(renew = false): Promise<Record<string, string>> {
    const token = await this.#token(renew);
    return token === null ? {} : { authorization: `Bearer ${token}` };
  }

  async #get(
    path: string,
    query: Parameters<RelayUrls["http"]>[1],
    signal?: AbortSignal,
  ): Promise<Record<string, unknown>> {
    return (await this.#json(this.urls.http(path, query), { signal })) as Record<string, unknown>;
  }

  async #json(url: string, init: RequestInit): Promise<unknown> {
    return jsonOf(await this.#send(url, init));
  }

  async #send(url: string, init: RequestInit): Promise<Response> {
    const attempt = async (renew: boolean) => {
      const headers: Record<string, string> = await this.headers(renew);
      if (init.body !== undefined) headers["content-type"] = "application/json";
      try {
        return await this.#environment.fetch(url, { ...init, headers });
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw new RelayError(0, "the relay cannot be reached");
      }
    };
    let response = await attempt(false);
    // An expired token is renewed once. A second 401 is final.
    if (response.status === 401) response = await attempt(true);
    if (!response.ok) throw await problemOf(response);
    return response;
  }
}
