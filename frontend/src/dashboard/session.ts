/**
 * The token of this tab, for a relay that wants one. It comes from a form, or from an address that ends in `#token=…`.
 */

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
      current = null; // storage is forbidden: the token holds for this page only
    }
  }
  return current;
}

export function setToken(value: string): void {
  current = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // storage is forbidden: the token holds for this page only
  }
  changes.notify();
}

/** Take the token out of the address, so that it is not copied with it. A fragment is never sent to a server. */
export function takeTokenFromAddress(): void {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null || given === "") return;
  setToken(given);
  history.replaceState(null, "", location.pathname + location.search);
}

export function useToken(): string | null {
  return useSyncExternalStore(changes.subscribe, token);
}
