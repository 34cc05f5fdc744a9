import { expect, it } from "vitest";
import { ScriptedBrowser } from "../../test/scripted";
import { RelayClient } from "./relayClient.js";

function answered(body: unknown): RelayClient {
  const send: typeof fetch = async () => new Response(JSON.stringify(body));
  return new RelayClient({ environment: { ...new ScriptedBrowser().environment, fetch: send } });
}

const RELAY = {
  pipelines: [
    { name: "film", cancellable: true },
    { name: "scan", cancellable: false },
  ],
  cancellable: false,
};

it.each([
  ["film", RELAY, { cancel: true, retry: true }],
  ["scan", RELAY, { cancel: false, retry: true }],
  [null, RELAY, { cancel: false, retry: false }],
  ["of another relay", RELAY, { cancel: false, retry: false }],
  [null, { ...RELAY, cancellable: true }, { cancel: true, retry: false }],
  [null, { pipelines: [] }, { cancel: true, retry: false }], // an older relay does not say
])("what can be done with a run of pipeline %s", async (pipeline, body, expected) => {
  expect(await answered(body).api.abilities(pipeline)).toEqual(expected);
});

it("cancel says whether the work is being stopped", async () => {
  expect(await answered({ status: "cancelled", stops_work: true }).api.cancel("r")).toBe(true);
  expect(await answered({ status: "cancelled", stops_work: false }).api.cancel("r")).toBe(false);
  expect(await answered({ status: "cancelled" }).api.cancel("r")).toBe(true);
});

it("an HTML page in place of an answer is said to be no relay, and where it came from", async () => {
  const page = () => {
    const response = new Response("<!doctype html>", { headers: { "content-type": "text/html" } });
    Object.defineProperty(response, "url", { value: "http://localhost:5173/api/runs" });
    return response;
  };
  const environment = { ...new ScriptedBrowser().environment, fetch: async () => page() };
  const { api } = new RelayClient({ environment });
  await expect(api.runs()).rejects.toThrow(
    "this is not a relay (got text/html from http://localhost:5173/api/runs)",
  );
});
