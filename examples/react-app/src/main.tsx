import { RunStatus } from "@runrelay/react";
import "@runrelay/react/styles.css";
import { createRoot } from "react-dom/client";

// ?run=<run id>&relay=<address of a relay on another origin>
const query = new URLSearchParams(location.search);
const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <RunStatus
      runId={query.get("run") ?? "demo"}
      baseUrl={query.get("relay") ?? undefined}
      onComplete={(run) => {
        document.title = `done: ${run.title ?? run.runId}`;
      }}
    />,
  );
}
