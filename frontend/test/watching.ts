/** A client in a scripted browser, for the tests of connections. Each test file that imports this has fake timers. */

import { afterEach, beforeEach, vi } from "vitest";
import type { RelayClientOptions } from "../src/core/relayClient";
import { RelayClient } from "../src/core/relayClient";
import { ScriptedBrowser } from "./scripted";

export let browser: ScriptedBrowser;
export let client: RelayClient;

/** Replace the browser by one without these. */
export function openBrowser(...without: ConstructorParameters<typeof ScriptedBrowser>): void {
  browser = new ScriptedBrowser(...without);
}

export function openClient(options: RelayClientOptions = {}): void {
  client = new RelayClient({ environment: browser.environment, ...options });
}

/** Watch a run with a new client, until the returned function is called. */
export function watch(runId = "r", options: RelayClientOptions = {}): () => void {
  openClient(options);
  return client.run(runId).subscribe(() => {});
}

export const status = () => client.connection.status;
export const state = (runId = "r") => client.run(runId).state;
export const texts = (runId = "r") => state(runId).run.logs.map((line) => line.message);
/** Let pending promises settle, without advancing the clock. */
export const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000_000 });
  openBrowser();
});
afterEach(() => client.close());
