import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { running } from "../fake/scenes";
import { chromiumPath } from "./chromium";
import { logText, runPath, stage } from "./page";

describe.skipIf(chromiumPath() === null)("the dashboard on a bad network", () => {
  const at = stage();

  /** Numbered lines, so that a missing or a repeated line is found. */
  function count(from: number, to: number): void {
    for (let n = from; n <= to; n += 1)
      at.relay.publish("r", { state: "COUNTING", progress: n / 100, log: `number ${n}` });
  }
  const upTo = (n: number) => Array.from({ length: n }, (_, index) => `number ${index + 1}`);
  const sees = async (page: Page, n: number) => {
    await page.getByText(`number ${n}`, { exact: true }).first().waitFor({ timeout: 20_000 });
    expect(await logText(page)).toEqual(upTo(n));
  };
  const transport = async (page: Page, name: string) => {
    await page.locator(`.rr-connection[title*="${name}"]`).waitFor({ timeout: 20_000 });
  };

  it("WebSocket refused at the upgrade: an event stream, and back when it is let through", async () => {
    at.allow("WebSocket");
    at.relay.faults.websocket = "refuse";
    count(1, 3);
    const page = await at.open(runPath("r"));
    await transport(page, "Event stream");
    count(4, 6);
    await sees(page, 6);
    expect(at.relay.streamCount).toBe(1);
    at.relay.faults.websocket = "none";
    await transport(page, "WebSocket");
    count(7, 9);
    await sees(page, 9);
    expect(at.relay.streamCount).toBe(0);
  });

  it("a WebSocket that is accepted and silent is closed after five seconds", async () => {
    at.relay.faults.websocket = "silent";
    count(1, 3);
    const page = await at.open(runPath("r"));
    await transport(page, "Event stream");
    await sees(page, 3);
  });

  it("when only polling works the log has no hole", async () => {
    at.allow("WebSocket", "503");
    at.relay.faults.websocket = "refuse";
    at.relay.faults.sse = "refuse";
    count(1, 3);
    const page = await at.open(runPath("r"));
    await transport(page, "Polling");
    count(4, 5);
    await sees(page, 5);
    count(6, 7);
    await sees(page, 7);
  });

  it("WebSocket → event stream → polling → WebSocket in the middle of one run, with one cursor", async () => {
    at.allow("WebSocket", "503", "ERR_");
    count(1, 2);
    const page = await at.open(runPath("r"));
    await transport(page, "WebSocket");
    at.relay.faults.websocket = "refuse";
    at.relay.cut();
    count(3, 4);
    await transport(page, "Event stream");
    await sees(page, 4);
    at.relay.faults.sse = "refuse";
    await at.relay.stop();
    await at.relay.start();
    count(5, 6);
    await transport(page, "Polling");
    await sees(page, 6);
    at.relay.faults.websocket = "none";
    at.relay.faults.sse = "none";
    await transport(page, "WebSocket");
    count(7, 8);
    await sees(page, 8);
  });

  it("the relay is killed and started again: a countdown, then everything that was missed", async () => {
    at.allow("WebSocket", "ERR_");
    count(1, 5);
    const page = await at.open(runPath("r"));
    await sees(page, 5);
    await at.relay.stop();
    await page.locator(".rr-retry").waitFor();
    count(6, 8);
    await at.relay.start();
    await sees(page, 8);
    await page.locator(".rr-retry").waitFor({ state: "detached" });
  });

  it("a log that could not be continued is replaced, and the page says so", async () => {
    count(1, 5);
    const page = await at.open(runPath("r"));
    await sees(page, 5);
    const run = at.relay.runs.get("r");
    if (run !== undefined) run.epoch = "fakeepoch002";
    at.relay.cut();
    await page.getByText("could not be continued").waitFor();
    await sees(page, 5);
  });

  it("the list shows a lost connection, and reconnects by itself", async () => {
    at.allow("WebSocket", "ERR_");
    running(at.relay, "r", "A film");
    const page = await at.open("/");
    await page.locator("a.run-row").waitFor();
    await at.relay.stop();
    await page.locator(".rr-retry", { hasText: "Reconnecting" }).waitFor();
    await at.relay.start();
    await page.locator(".rr-retry").waitFor({ state: "detached" });
  });

  it("Redis away: a banner, and it goes when Redis is back", async () => {
    running(at.relay, "r", "A film");
    const page = await at.open(runPath("r"));
    await page.locator(".log-row").first().waitFor();
    at.relay.setUpstream("down");
    await page.getByText("cannot reach its Redis").waitFor();
    at.relay.setUpstream("up");
    await page.getByText("cannot reach its Redis").waitFor({ state: "detached" });
  });

  it("the network goes and comes back", async () => {
    at.allow("ERR_INTERNET_DISCONNECTED", "WebSocket");
    count(1, 3);
    const page = await at.open(runPath("r"));
    await sees(page, 3);
    await page.context().setOffline(true);
    at.relay.cut();
    await page.locator(".rr-connection[data-status=offline]").waitFor();
    count(4, 6);
    await page.context().setOffline(false);
    await sees(page, 6);
  });

  it("a client closed with 4408 (too slow) continues from its cursor, without a double", async () => {
    count(1, 5);
    const page = await at.open(runPath("r"));
    await sees(page, 5);
    at.relay.cut(4408, "too slow");
    count(6, 9);
    await sees(page, 9);
  });
});
