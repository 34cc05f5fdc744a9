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
  ["film", RELAY, true],
  ["scan", RELAY, false],
  [null, RELAY, false],
  ["of another relay", RELAY, false],
  [null, { ...RELAY, cancellable: true }, true],
  [null, { pipelines: [] }, true], // an older relay does not say
])("whether a run of pipeline %s can be cancelled", async (pipeline, body, expected) => {
  expect(await answered(body).api.canCancel(pipeline)).toBe(expected);
});

it("cancel says whether the work is being stopped", async () => {
  expect(await answered({ status: "cancelled", stops_work: true }).api.cancel("r")).toBe(true);
  expect(await answered({ status: "cancelled", stops_work: false }).api.cancel("r")).toBe(false);
  expect(await answered({ status: "cancelled" }).api.cancel("r")).toBe(true);
});
