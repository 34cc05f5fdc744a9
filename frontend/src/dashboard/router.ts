/** The router. Three pages need no library: the address is the state, and one hook reads it. */

import { useSyncExternalStore } from "react";
import { ROOT } from "./root";

export type Page =
  | { readonly name: "runs" }
  | { readonly name: "run"; readonly runId: string }
  | { readonly name: "new"; readonly pipeline: string | null }
  | { readonly name: "missing" };

const CHANGED = "runrelay:navigated";

export function pageOf(pathname: string): Page {
  const path = pathname.replace(/\/+$/, "");
  if (path === "" || path === "/runs") return { name: "runs" };
  const [, first, second, ...more] = path.split("/");
  if (more.length > 0) return { name: "missing" };
  try {
    if (first === "runs" && second) return { name: "run", runId: decodeURIComponent(second) };
    if (first === "new") return { name: "new", pipeline: second ? decodeURIComponent(second) : null };
  } catch {
    return { name: "missing" }; // a broken percent encoding
  }
  return { name: "missing" };
}

export function runPath(runId: string): string {
  return `${ROOT}runs/${encodeURIComponent(runId)}`;
}

export function newPath(pipeline?: string): string {
  return pipeline === undefined ? `${ROOT}new` : `${ROOT}new/${encodeURIComponent(pipeline)}`;
}

export function navigate(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  dispatchEvent(new Event(CHANGED));
}

function subscribe(changed: () => void): () => void {
  addEventListener("popstate", changed);
  addEventListener(CHANGED, changed);
  return () => {
    removeEventListener("popstate", changed);
    removeEventListener(CHANGED, changed);
  };
}

/** Path and query of the page below the root, e.g. `/runs/x?step=qa`. */
export function useAddress(): string {
  return useSyncExternalStore(subscribe, () => location.pathname.slice(ROOT.length - 1) + location.search);
}
