import { expect, it } from "vitest";
import { ScriptedBrowser } from "../../test/scripted";
import { RelayClient } from "./relayClient.js";
import type { TransportKind } from "./types.js";

/** What the first request of a client carries. */
function firstRequest(transport: TransportKind, options: object): { url: string; init: RequestInit } {
  const seen: { url: string; init: RequestInit }[] = [];
  const send: typeof fetch = (url, init = {}) => {
    seen.push({ url: String(url), init });
    return new Promise(() => {});
  };
  const environment = { ...new ScriptedBrowser().environment, fetch: send, eventStream: "fetch" as const };
  const client = new RelayClient({ environment, transports: [transport], ...options });
  const stop = client.run("r").subscribe(() => {});
  stop();
  client.close();
  const [first] = seen;
  if (first === undefined) throw new Error("no request");
  return first;
}

it.each(["polling", "sse"] as const)("%s carries the client's own headers and credentials", (transport) => {
  let calls = 0;
  const headers = () => {
    calls += 1;
    return { "x-tenant": "7" };
  };
  const { init } = firstRequest(transport, { credentials: "include", headers, token: "t" });
  expect(init.credentials).toBe("include");
  expect(init.headers).toEqual({ "x-tenant": "7", authorization: "Bearer t" });
  expect(calls).toBe(1);
});

it("without them nothing is changed", () => {
  const { init } = firstRequest("polling", {});
  expect("credentials" in init).toBe(false);
  expect(init.headers).toEqual({});
});

it("an action carries them, too", async () => {
  let carried: RequestInit = {};
  const send: typeof fetch = async (_, init = {}) => {
    carried = init;
    return new Response("{}", { status: 202 });
  };
  const environment = { ...new ScriptedBrowser().environment, fetch: send };
  const client = new RelayClient({ environment, credentials: "include", headers: { "x-tenant": "7" } });
  await client.api.cancel("r");
  expect([carried.method, carried.credentials, carried.headers]).toEqual([
    "POST",
    "include",
    { "x-tenant": "7" },
  ]);
});
