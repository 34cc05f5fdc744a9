import { useCallback, useMemo, useSyncExternalStore } from "react";
import type { RelayClient, RunFilter, RunListState } from "../core/index.js";
import { useRelayClient } from "./provider.js";

export interface UseRuns extends RunListState {
  readonly hasMore: boolean;
  readonly loadMore: () => void;
  readonly refresh: () => void;
}

const NOTHING: RunListState = {
  status: "loading",
  runs: [],
  nextCursor: null,
  loadingMore: false,
  error: null,
};

/** The list of runs, live. The filter may be a new object at each render: its values are compared. */
export function useRuns(
  filter: RunFilter = {},
  options: { client?: RelayClient; baseUrl?: string } = {},
): UseRuns {
  const relay = useRelayClient(options);
  const { status, pipeline, q, limit } = filter;
  const list = useMemo(() => relay.runs({ status, pipeline, q, limit }), [relay, status, pipeline, q, limit]);
  const state = useSyncExternalStore(
    useCallback((changed: () => void) => list.subscribe(changed), [list]),
    () => list.state,
    () => NOTHING,
  );
  return useMemo(
    () => ({
      ...state,
      hasMore: state.nextCursor !== null,
      loadMore: () => void list.loadMore(),
      refresh: () => void list.refresh(),
    }),
    [state, list],
  );
}
