import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { IDLE } from "../core/connectionState.js";
import type {
  ConnectionState,
  JsonObject,
  LogLine,
  Outcome,
  ProgressEvent,
  RelayClient,
  RunState,
  RunStatus,
  Step,
} from "../core/index.js";
import { isEnded, remainingMs, unknownRun } from "../core/index.js";
import { useRelayClient } from "./provider.js";

export interface UseRunOptions {
  readonly client?: RelayClient;
  /** A relay on another origin. */
  readonly baseUrl?: string;
  /** Once, when the server says that the run has succeeded. */
  readonly onComplete?: (run: RunState) => void;
  /** Once, when the server says that the run has failed or was cancelled. */
  readonly onFailed?: (run: RunState) => void;
  /** For every event that comes while the run is watched, in order, each once: rendering shows only the latest. */
  readonly onEvent?: (event: ProgressEvent) => void;
}

export interface RunConnection extends ConnectionState {
  /** Try to connect now. */
  readonly retry: () => void;
}

export interface UseRun {
  readonly run: RunState;
  readonly logs: readonly LogLine[];
  readonly steps: readonly Step[];
  readonly status: RunStatus;
  /** The run's metadata: the `data` of all its events, merged; null while there is none. */
  readonly data: JsonObject | null;
  readonly connection: RunConnection;
  /** The run's own error, else why it cannot be watched. */
  readonly error: string | null;
  /** What is shown may be old: the link is down, the relay has lost its Redis, or the log is gone. */
  readonly isStale: boolean;
  /** Unix ms of the last event, null before the first. */
  readonly lastEventAt: number | null;
  /** Estimated ms from the last event to the end, null while nothing can be said. */
  readonly etaMs: number | null;
  /** Ask the server to stop the run. Rejects with a `RelayError`. */
  readonly cancel: () => Promise<void>;
  /** Start another attempt of an ended run. Rejects with a `RelayError`. */
  readonly retry: () => Promise<void>;
}

/** Watch a run: live, over whatever transport gets through, until it ends. `null` watches nothing. */
export function useRun(runId: string | null, options: UseRunOptions = {}): UseRun {
  const relay = useRelayClient(options);
  const client = useMemo(() => (runId === null ? null : relay.run(runId)), [relay, runId]);
  const idle = useMemo(() => ({ run: unknownRun(runId ?? ""), connection: IDLE }), [runId]);
  const state = useSyncExternalStore(
    useCallback((changed: () => void) => client?.subscribe(changed) ?? (() => {}), [client]),
    () => client?.state ?? idle,
    () => idle, // a server watches nothing; the page takes over when it hydrates
  );

  // The latest callbacks, without starting over when a parent makes new ones.
  const handlers = useRef(options);
  useEffect(() => {
    handlers.current = options;
  });
  const listens = options.onComplete !== undefined || options.onFailed !== undefined;
  useEffect(() => {
    if (client === null || !listens) return;
    return client.onOutcome((outcome: Outcome) => {
      const handler =
        outcome.status === "succeeded" ? handlers.current.onComplete : handlers.current.onFailed;
      handler?.(outcome.run);
    });
  }, [client, listens]);

  const listensToEvents = options.onEvent !== undefined;
  useEffect(() => {
    if (client === null || !listensToEvents) return;
    return client.onEvent((event) => handlers.current.onEvent?.(event));
  }, [client, listensToEvents]);

  const reconnect = useCallback(() => client?.reconnect(), [client]);
  const cancel = useCallback(async () => client?.cancel(), [client]);
  const retry = useCallback(async () => client?.retry(), [client]);

  const { run, connection } = state;
  return useMemo(
    () => ({
      run,
      logs: run.logs,
      steps: run.steps,
      status: run.status,
      data: run.data,
      connection: { ...connection, retry: reconnect },
      error: run.error ?? connection.error?.message ?? null,
      isStale: isStale(run, connection),
      lastEventAt: run.updatedAt,
      etaMs: isEnded(run.status) ? null : remainingMs(run.samples),
      cancel,
      retry,
    }),
    [run, connection, reconnect, cancel, retry],
  );
}

/** Whether what is known of a run may have been overtaken. An ended run's outcome stays true. */
function isStale(run: RunState, connection: ConnectionState): boolean {
  if (run.stale) return true;
  if (!run.known || isEnded(run.status)) return false;
  return connection.upstream === "down" || connection.status !== "connected";
}
