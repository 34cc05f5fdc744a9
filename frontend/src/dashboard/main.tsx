import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { RelayClient, RelayProvider } from "../react/index";
import { App } from "./App";
import { apply, preferences } from "./preferences";
import "./styles/tokens.css";
import "../react/styles.css";
import "./styles/base.css";
import "./styles/list.css";
import "./styles/run.css";
import "./styles/log.css";
import "./styles/form.css";

apply(preferences());
const relay = new RelayClient({ logDetails: true, maxLogLines: 50_000 });
const queries = new QueryClient({ defaultOptions: { queries: { staleTime: 60_000, retry: 1 } } });
const root = document.getElementById("root");
if (root === null) throw new Error("the page has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <RelayProvider client={relay}>
        <App />
      </RelayProvider>
    </QueryClientProvider>
  </StrictMode>,
);
