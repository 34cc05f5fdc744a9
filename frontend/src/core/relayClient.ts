/** A page's client of one relay: one connection, and one store for each watched run and list. */

import type { RunFilter } from "./api.js";
import { RelayApi } from "./api.js";
import { Connection } from "./connection.js";
import type { ConnectionOptions } from "./connectionOptions.js";
import { CONNECTION_DEFAULTS } from "./connectionOptions.js";
import type { Environment, RequestOptions } from "./environment.js";
import { pageEnvironment, withRequests } from "./environment.js";
import type { Frame } from "./frames.js";
import { MAX_LOG_LINES } from "./reducer.js";
import { RunClient } from "./runClient.js";
import { RunList } from "./runList.js";
import type { Transport, TransportEvents } from "./transport.js";
import { openTransport } from "./transports.js";
import type { ConnectionState, TransportKind } from "./types.js";
import { RelayUrls } from "./urls.js";

export type Token = string | (() => string | null | Promise<string | null>);

export interface RelayClientOptions extends RequestOptions {
  /** The relay's address (`https://relay.example.com`). Default: the page's origin. */
  readonly baseUrl?: string;
  /** A bearer token, or a function that gets one. The function is called again after 4401 or 401. */
  readonly token?: Token;
  /** The transports to use, best first. Default: all three. */
  readonly transports?: readonly TransportKind[];
  /** Also fetch the levels and times of log lines from before the client subscribed. */
  readonly logDetails?: boolean;
  /** Log lines kept of each run, the newest. Default: 20,000. */
  readonly maxLogLines?: number;
  readonly connection?: Partial<ConnectionOptions>;
  /** @deprecated Its name is `connection`. */
  readonly link?: Partial<ConnectionOptions>;
  /** For tests. */
  readonly environment?: Environment;
}

/** Stores are kept, up to this number, although their runs are not watched any more: a reader often comes back. */
const KEEP_RUNS = 50;

export class RelayClient {
  readonly api: RelayApi;
  readonly #options: RelayClientOptions;
  readonly #environment: Environment;
  readonly #urls: RelayUrls;
  readonly #connection: Connection;
  readonly #runs = new Map<string, RunClient>();
  readonly #lists = new Map<string, RunList>();
  readonly #announced = new Set<string>();
  #knownToken: string | null = null;

  /** Does not connect: the first subscriber does. So a client can be made while a page renders on a server. */
  constructor(options: RelayClientOptions = {}) {
    this.#options = options;
    this.#environment = withRequests(options.environment ?? pageEnvironment(), options);
    this.#urls = new RelayUrls(options.baseUrl ?? "", this.#environment.origin);
    const token = (renew: boolean) => this.#token(renew);
    this.api = new RelayApi(this.#urls, this.#environment, token, () =>
      typeof options.token === "string" ? options.token : this.#knownToken,
    );
    const transports = options.transports ?? CONNECTION_DEFAULTS.transports;
    this.#connection = new Connection(
      (kind, value, events) => this.#open(kind, value, events),
      token,
      this.#environment,
      {
        ...CONNECTION_DEFAULTS,
        ...options.link,
        ...options.connection,
        transports,
      },
    );
  }

  /** The page's connection. */
  get connection(): ConnectionState {
    return this.#connection.state;
  }

  subscribeConnection(listener: () => void): () => void {
    return this.#connection.subscribe(listener);
  }

  /**
   * Stay connected although nothing is watched, until the returned function is called: for a page that is open all day.
   * An ended run that somebody starts again is then followed again.
   */
  stayConnected(): () => void {
    const listener = (frame: Frame) => {
      if (frame.type !== "run") return;
      const run = this.#runs.get(frame.summary.runId);
      if (run !== undefined && frame.summary.attempt > run.state.run.attempt) run.reopen();
    };
    this.#connection.addFeed(listener);
    return () => this.#connection.removeFeed(listener);
  }

  /** Try to connect now. */
  reconnect(): void {
    this.#connection.retry();
  }

  /** The store of a run: the same for all callers. */
  run(runId: string): RunClient {
    const known = this.#runs.get(runId);
    if (known !== undefined) return known;
    const { logDetails = false, maxLogLines = MAX_LOG_LINES } = this.#options;
    const run = new RunClient(
      runId,
      this.#connection,
      this.api,
      { logDetails, maxLogLines },
      this.#announced,
    );
    this.#runs.set(runId, run);
    this.#forgetOldest();
    return run;
  }

  /** The store of a list: the same for all callers with the same filter. */
  runs(filter: RunFilter = {}): RunList {
    const { status, pipeline, q, limit } = filter;
    const name = JSON.stringify([status ?? "", pipeline ?? "", q ?? "", limit ?? null]);
    const known = this.#lists.get(name);
    if (known !== undefined) return known;
    const list = new RunList(this.api, this.#connection, filter);
    if (this.#lists.size >= KEEP_RUNS) this.#lists.clear(); // a list in use is held by its subscribers
    this.#lists.set(name, list);
    return list;
  }

  close(): void {
    this.#connection.close();
  }

  #forgetOldest(): void {
    for (const [runId, run] of this.#runs) {
      if (this.#runs.size <= KEEP_RUNS) return;
      if (run.isForgettable) this.#runs.delete(runId);
    }
  }

  #token(renew: boolean): Promise<string | null> | string | null {
    const { token } = this.#options;
    if (token === undefined) return null;
    // A fixed token cannot be renewed: its refusal is final.
    if (typeof token === "string") return renew ? null : token;
    if (!renew && this.#knownToken !== null) return this.#knownToken;
    return Promise.resolve(token()).then((value) => {
      this.#knownToken = value;
      return value;
    });
  }

  #open(kind: TransportKind, token: string | null, events: TransportEvents): Transport {
    const context = {
      environment: this.#environment,
      urls: this.#urls,
      token,
      cursorOf: (runId: string) => this.#cursorOf(runId),
      pingRelay: () => this.api.runs({ limit: 1 }),
    };
    return openTransport(kind, context, events);
  }

  #cursorOf(runId: string): string | null {
    const cursor = this.#runs.get(runId)?.state.run.cursor ?? "0-0";
    return cursor === "0-0" ? null : cursor;
  }
}
