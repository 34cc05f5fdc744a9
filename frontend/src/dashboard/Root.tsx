import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useMemo } from "react";
import { RelayClient, RelayProvider } from "../react/index";
import { App } from "./App";
import { ROOT } from "./root";
import { useToken } from "./session";

/** One relay client and one cache for each token: data of one token must not be shown for the next. */
export function Root(): ReactNode {
  const token = useToken();
  const relay = useMemo(
    () =>
      new RelayClient({
        baseUrl: ROOT,
        logDetails: true,
        maxLogLines: 50_000,
        token: token ?? undefined,
        // A hidden tab still shows title, icon and notifications, so this page stays connected all day.
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
