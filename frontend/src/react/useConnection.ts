import { useCallback, useSyncExternalStore } from "react";
import { IDLE } from "../core/connectionState.js";
import type { ConnectionState, RelayClient } from "../core/index.js";
import { useRelayClient } from "./provider.js";

/** The page's connection to the relay, live. It does not connect by itself. */
export function useConnection(options: { client?: RelayClient; baseUrl?: string } = {}): ConnectionState {
  const relay = useRelayClient(options);
  return useSyncExternalStore(
    useCallback((changed: () => void) => relay.subscribeConnection(changed), [relay]),
    () => relay.connection,
    () => IDLE,
  );
}
