/** The reader's preferences, kept in this browser: theme, language, notifications, line wrap. */

import { useSyncExternalStore } from "react";
import { Subscribable } from "../core/subscribable.js";

export interface Preferences {
  readonly theme: "auto" | "light" | "dark";
  readonly language: "en" | "ko";
  readonly notify: boolean;
  /** Whether long log lines go on in the next line. */
  readonly wrap: boolean;
}

const KEY = "runrelay.preferences";
const changes = new Subscribable();
let current: Preferences | null = null;

function read(): Preferences {
  const language = navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en";
  const defaults: Preferences = { theme: "auto", language, notify: false, wrap: true };
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Preferences>;
    return {
      theme: stored.theme === "light" || stored.theme === "dark" ? stored.theme : "auto",
      language: stored.language === "en" || stored.language === "ko" ? stored.language : language,
      notify: stored.notify === true,
      wrap: stored.wrap !== false,
    };
  } catch {
    return defaults; // storage is forbidden, or its content is not ours
  }
}

export function preferences(): Preferences {
  current ??= read();
  return current;
}

export function setPreferences(change: Partial<Preferences>): void {
  current = { ...preferences(), ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // storage is forbidden: the preferences hold for this page only
  }
  apply(current);
  changes.notify();
}

/** Apply theme and language to the document. */
export function apply(chosen: Preferences): void {
  const root = document.documentElement;
  if (chosen.theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = chosen.theme;
  root.lang = chosen.language;
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(changes.subscribe, preferences);
}
