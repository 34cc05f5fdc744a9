import { useQuery } from "@tanstack/react-query";
import type { RunState } from "../../react/index";
import { useRelayClient } from "../../react/index";
import type { Beginning } from "./beginnings";
import { beginningsOf } from "./beginnings";

const NONE: readonly Beginning[] = [];

/** Where the attempts of a run begin, from its events: none while it has one attempt, or when the events are gone. */
export function useBeginnings({ runId, cursor, attempt }: RunState): readonly Beginning[] {
  const { api } = useRelayClient();
  const [epoch = ""] = cursor.split("-");
  const query = useQuery({
    queryKey: ["beginnings", runId, epoch, attempt],
    queryFn: async ({ signal }) => beginningsOf(await api.events(runId, epoch, signal)),
    enabled: attempt > 1,
  });
  return attempt > 1 ? (query.data ?? NONE) : NONE;
}
