import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { IDLE } from "../core/connectionState.js";
import { readSnapshot } from "../core/frames.js";
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
import { applySnapshot, isEnded, remainingMs, unknownRun } from "../core/index.js";
import { useRelayClient } from "./provider.js";

export interface UseRunOptions {
  readonly client?: RelayClient;
  /** The address of a relay on another origin. */
  readonly baseUrl?: string;
  /**
   * The relay's answer to `GET /api/runs/{runId}`, which a server has fetched: shown until the first frame comes, and in
   * server-rendered HTML.
   */
  readonly initialRun?: unknown;
  /** Called once when the server reports that the run has succeeded. */
  readonly onComplete?: (run: RunState) => void;
  /** Called once when the server reports that the run has failed or was cancelled. */
  readonly onFailed?: (run: RunState) => void;
  /** Called for every event while the run is watched, in order, each once. Rendering shows only the latest state. */
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
  /** The run's error, else the reason why it cannot be watched. */
  readonly error: string | null;
  /** The state may be old: not connected, the relay cannot reach its Redis, or the run log has expired. */
  readonly isStale: boolean;
  /** The time of the last event in Unix ms; null before the first. */
  readonly lastEventAt: number | null;
  /** Estimated ms from the last event to the end; null while there is no estimate. */
  readonly etaMs: number | null;
  /** Ask the server to stop the run. Resolves with whether its work is being stopped; rejects with a `RelayError`. */
  readonly cancel: () => Promise<boolean>;
  /** Start another attempt of an ended run. Rejects with a `RelayError`. */
  readonly retry: () => Promise<void>;
}

/** Watch a run live, over any transport that works, until it ends. Without an id it watches nothing. */
export function useRun(runId: string | null | undefined, options: UseRunOptions = {}): UseRun {
  const relay = useRelayClient(options);
  const client = useMemo(() => (runId == null ? null : relay.run(runId)), [relay, runId]);
  const { initialRun } = options;
  const idle = useMemo(
    () => ({ run: initialState(runId ?? "", initialRun), connection: IDLE }),
    [runId, initialRun],
  );
  const state = useSyncExternalStore(
    useCallback((changed: () => void) => client?.subscribe(changed) ?? (() => {}), [client]),
    () => client?.state ?? idle,
    () => idle, // a server watches nothing; the page starts after hydration
  );

  // The latest callbacks in a ref: new ones must not subscribe again.
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
  const cancel = useCallback(async () => client?.cancel() ?? false, [client]);
  const retry = useCallback(async () => client?.retry(), [client]);

  const { connection } = state;
  const run = state.run.known ? state.run : idle.run;
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

function initialState(runId: string, initialRun: unknown): RunState {
  const snapshot = readSnapshot(initialRun);
  const nothing = unknownRun(runId);
  return snapshot?.runId === runId ? applySnapshot(nothing, snapshot) : nothing;
}

/** Whether the known state of a run may be old. The outcome of an ended run never is. */
function isStale(run: RunState, connection: ConnectionState): boolean {
  if (run.stale) return true;
  if (!run.known || isEnded(run.status)) return false;
  return connection.upstream === "down" || connection.status !== "connected";
}
