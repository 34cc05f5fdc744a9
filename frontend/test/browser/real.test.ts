import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FaultProxy } from "../real/proxy";
import { missing, RealSystem } from "../real/system";
import { chromiumPath, launch } from "./chromium";
import { logText, runPath } from "./page";

describe.skipIf(chromiumPath() === null || missing() !== null)(
  "the page with the real relay, worker and Valkey",
  () => {
    const system = new RealSystem();
    let browser: Browser;
    let proxy: FaultProxy;
    let written = 0;

    beforeAll(async () => {
      browser = await launch();
      await system.start();
    }, 90_000);
    beforeEach(async () => {
      written = 0;
      proxy = new FaultProxy(system.relayPort);
      await proxy.start();
    });
    afterEach(async () => {
      for (const context of browser.contexts()) await context.close();
      await proxy.stop();
    });
    afterAll(async () => {
      await browser?.close();
      await system.stop();
    }, 30_000);

    async function open(path: string): Promise<Page> {
      const page = await (
        await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en" })
      ).newPage();
      page.setDefaultTimeout(30_000);
      await page.goto(proxy.url + path);
      return page;
    }

    /** Publish `count` more numbered lines. */
    async function write(runId: string, count: number): Promise<void> {
      const events = Array.from({ length: count }, () => {
        written += 1;
        return { run_id: runId, state: "COUNTING", progress: written / 100, log: `number ${written}` };
      });
      await system.publish(...events);
    }

    /** The page shows every line once, in order, and has the same state as the API. */
    async function agrees(page: Page, runId: string): Promise<void> {
      await page
        .locator(".log-row")
        .nth(written - 1)
        .waitFor();
      const numbers = Array.from({ length: written }, (_, index) => `number ${index + 1}`);
      expect(await logText(page)).toEqual(numbers);
      expect(await system.logsOf(runId)).toEqual(numbers);
    }

    const over = (page: Page, transport: string) =>
      page.locator(`.rr-connection[title*="${transport}"]`).waitFor();

    it("refresh, cut, kill -9 of the relay: every line once, in order", async () => {
      const runId = "20251105_1430_우주여행고양이";
      await write(runId, 3);
      const page = await open(runPath(runId));
      await agrees(page, runId);
      await page.reload();
      await write(runId, 3);
      await agrees(page, runId);
      proxy.cut();
      await write(runId, 3);
      await agrees(page, runId);
      await system.killRelay();
      await page.locator(".rr-retry").waitFor();
      await write(runId, 3);
      await system.startRelay();
      await agrees(page, runId);
      await page.locator(".rr-retry").waitFor({ state: "detached" });
      await page.reload();
      await agrees(page, runId);
    }, 120_000);

    it("WebSocket refused → stream → polling → WebSocket, with one cursor", async () => {
      await write("transports", 2);
      const page = await open(runPath("transports"));
      await over(page, "WebSocket");
      proxy.websocket = "refuse";
      proxy.cut();
      await write("transports", 2);
      await over(page, "Event stream");
      await agrees(page, "transports");
      await write("transports", 2);
      await agrees(page, "transports");
      proxy.sse = "refuse";
      proxy.cutAll();
      await write("transports", 2);
      await over(page, "Polling");
      await agrees(page, "transports");
      await write("transports", 2);
      await agrees(page, "transports");
      proxy.websocket = "pass";
      await over(page, "WebSocket");
      await write("transports", 2);
      await agrees(page, "transports");
    }, 120_000);

    it("a WebSocket that is accepted and silent", async () => {
      proxy.websocket = "silent";
      await write("silent", 2);
      const page = await open(runPath("silent"));
      await over(page, "Event stream");
      await write("silent", 2);
      await agrees(page, "silent");
    }, 90_000);

    it("Redis stands still: the page says that it may be old, and takes it back", async () => {
      await write("frozen", 2);
      const page = await open(runPath("frozen"));
      await agrees(page, "frozen");
      system.pauseValkey();
      await page.getByText("What you see may be old").waitFor({ timeout: 60_000 });
      system.resumeValkey();
      await page.getByText("What you see may be old").waitFor({ state: "detached", timeout: 60_000 });
      await write("frozen", 2);
      await agrees(page, "frozen");
    }, 180_000);

    it("from a prompt to a film that plays, with every step seen", async () => {
      await system.startWorker();
      const page = await open("/new/shorts");
      await page.getByLabel("Prompt").fill("A paper boat crosses the sea at sunset");
      await page.getByLabel("Language").selectOption("en");
      await page.getByRole("button", { name: "Start run" }).click();
      await page.locator(".rr-step[data-status=running]").first().waitFor();
      await page.locator(".chip", { hasText: "Succeeded" }).waitFor({ timeout: 240_000 });
      expect(await page.locator(".rr-step[data-status=succeeded]").count()).toBe(7);
      const playsFor = await page.locator("video").evaluate(async (video: HTMLVideoElement) => {
        video.muted = true;
        await video.play();
        await new Promise((resolve) =>
          video.addEventListener("timeupdate", () => video.currentTime > 0.3 && resolve(null)),
        );
        return [video.videoHeight > video.videoWidth, video.duration > 4];
      });
      expect(playsFor).toEqual([true, true]);
      expect(await page.locator(".hero .rr-progress-percent").textContent()).toBe("100%");
    }, 300_000);
  },
);
