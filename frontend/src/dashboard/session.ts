/** The token of this tab, for relays that want one. It comes from a form, or from a link that ends in `#token=…`. */

import { useSyncExternalStore } from "react";
import { Subscribable } from "../core/subscribable.js";

const KEY = "runrelay.token";
const changes = new Subscribable();
let current: string | null | undefined;

export function token(): string | null {
  if (current === undefined) {
    try {
      current = sessionStorage.getItem(KEY);
    } catch {
      current = null; // storage is forbidden: the token holds for this page
    }
  }
  return current;
}

export function setToken(value: string): void {
  current = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // as above
  }
  changes.notify();
}

/** Take the token out of the address before anybody copies it from there. A fragment never reaches a server. */
export function takeTokenFromAddress(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null || given === "") return;
  setToken(given);
  history.replaceState(null, "", location.pathname + location.search);
}

export function useToken(): string | null {
  return useSyncExternalStore(changes.subscribe, token);
}
