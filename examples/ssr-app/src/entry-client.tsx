import { hydrateRoot } from "react-dom/client";
import { App } from "./App";

const query = new URLSearchParams(location.search);
const root = document.getElementById("root");
if (root !== null) {
  hydrateRoot(root, <App runId={query.get("run") ?? "demo"} relay={query.get("relay") ?? ""} />);
}
