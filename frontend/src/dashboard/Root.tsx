import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useMemo } from "react";
import { RelayClient, RelayProvider } from "../react/index";
import { App } from "./App";
import { useToken } from "./session";

/** One relay client and one cache for each token: what one was shown is not the next one's. */
export function Root(): ReactNode {
  const token = useToken();
  const relay = useMemo(
    () =>
      new RelayClient({
        logDetails: true,
        maxLogLines: 50_000,
        token: token ?? undefined,
        // Title, icon and notifications are what a hidden tab is for: this page stays connected all day.
        connection: { pauseHiddenAfterMs: Number.POSITIVE_INFINITY },
      }),
    [token],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new token is the reason for a new cache
  const queries = useMemo(
    () => new QueryClient({ defaultOptions: { queries: { staleTime: 60_000, retry: 1 } } }),
    [token],
  );
  return (
    <QueryClientProvider client={queries}>
      <RelayProvider client={relay}>
        <App />
      </RelayProvider>
    </QueryClientProvider>
  );
}
