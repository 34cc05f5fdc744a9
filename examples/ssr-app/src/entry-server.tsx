import { renderToString } from "react-dom/server";
import { App } from "./App";

export function render(runId: string, relay: string): string {
  return renderToString(<App runId={runId} relay={relay} />);
}
