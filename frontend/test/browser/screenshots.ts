/** Screenshots of the main states, of the built page with a fake relay. */

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { FakeRelay } from "../fake/relay";
import { failed, running, SCAN, SHORTS, succeeded } from "../fake/scenes";
import { makeFilm } from "../real/film";
import { launch } from "./chromium";

const ROOT = fileURLToPath(new URL("../../../backend/runrelay/dashboard", import.meta.url));
const CAT = "20251105_1430_우주여행고양이";

interface Shot {
  readonly name: string;
  readonly path: string;
  readonly theme?: "light" | "dark";
  readonly size?: readonly [number, number];
  readonly language?: "en" | "ko";
  readonly before?: (page: Page, relay: FakeRelay) => Promise<void>;
  readonly after?: (relay: FakeRelay) => Promise<void>;
}

const run = (runId: string) => `/runs/${encodeURIComponent(runId)}`;
const showsRun = (page: Page) => page.locator(".log-row").first().waitFor();

const SHOTS: readonly Shot[] = [
  { name: "list-light", path: "/", before: (page) => page.locator(".run-row .run-title").first().waitFor() },
  {
    name: "list-dark-ko",
    path: "/",
    theme: "dark",
    language: "ko",
    before: (page) => page.locator(".run-row .run-title").first().waitFor(),
  },
  {
    name: "list-phone",
    path: "/",
    size: [390, 780],
    before: (page) => page.locator(".run-row .run-title").first().waitFor(),
  },
  {
    name: "list-nothing",
    path: "/?q=zebra&status=failed",
    before: (page) => page.locator(".empty").waitFor(),
  },
  { name: "run-live-light", path: run("live"), before: showsRun },
  { name: "run-live-dark", path: run("live"), theme: "dark", before: showsRun },
  { name: "run-live-phone", path: run("live"), size: [390, 780], before: showsRun },
  { name: "run-done-light", path: run(CAT), before: showsRun },
  { name: "run-done-dark-ko", path: run(CAT), theme: "dark", language: "ko", before: showsRun },
  { name: "run-done-wide", path: run(CAT), size: [1720, 960], before: showsRun },
  { name: "run-failed-light", path: run("failed"), before: showsRun },
  {
    name: "run-failed-dark",
    path: run("failed"),
    theme: "dark",
    before: async (page) => {
      await showsRun(page);
      await page.getByText("Traceback", { exact: true }).click();
    },
  },
  {
    name: "run-long-log",
    path: run("long"),
    before: async (page) => {
      await showsRun(page);
      await page.getByPlaceholder("Search log").fill("shard 7");
    },
  },
  {
    name: "run-unknown",
    path: run("nobody-knows"),
    before: (page) => page.getByText("No such run").waitFor(),
  },
  { name: "new-light", path: "/new/shorts", before: (page) => page.locator("textarea").waitFor() },
  {
    name: "new-dark-ko",
    path: "/new/scan",
    theme: "dark",
    language: "ko",
    before: (page) => page.locator("input.input").first().waitFor(),
  },
  {
    name: "options",
    path: "/",
    before: async (page) => {
      await page.locator(".run-row .run-title").first().waitFor();
      await page.getByLabel("Options", { exact: true }).click();
    },
  },
  {
    name: "connection",
    path: "/",
    theme: "dark",
    before: async (page) => {
      await page.locator(".rr-connection[data-status=connected]").waitFor();
      await page.locator(".menu-button").first().click();
    },
  },
  {
    name: "redis-away",
    path: run("live"),
    before: async (page, relay) => {
      await showsRun(page);
      relay.setUpstream("down");
      await page.getByText("cannot reach its Redis").waitFor();
    },
    after: async (relay) => relay.setUpstream("up"),
  },
  {
    name: "relay-away",
    path: run("live"),
    theme: "dark",
    before: async (page, relay) => {
      await showsRun(page);
      await relay.stop();
      await page.locator(".rr-retry").waitFor();
    },
    after: (relay) => relay.start(),
  },
];

/** Write the screenshots whose name contains `only` to `folder`. */
export async function takeScreenshots(folder: string, only = ""): Promise<void> {
  await mkdir(folder, { recursive: true });
  const relay = new FakeRelay(ROOT);
  relay.pipelines = [SHORTS, SCAN];
  for (const [name, file] of await makeFilm("우주를 여행하는 고양이")) relay.files.set(name, file);
  await relay.start();
  succeeded(relay, CAT, "우주를 여행하는 고양이", 65_000);
  failed(relay, "failed", "A melancholic lighthouse keeper");
  succeeded(relay, "20251105_1410_deep-sea", "Deep sea, in eight seconds", 1_900_000);
  relay.publish(
    "scan-8412",
    { state: "CANCELLED", title: "Bottle, Mapo-gu", pipeline: "scan", log: "cancelled" },
    Date.now() - 7_000_000,
  );
  relay.publish(
    "nightly-reindex",
    {
      state: "SHARD 12 OF 40",
      log: "shard 12",
      title: "Nightly reindex",
      pipeline: "search",
      status: "stalled",
      progress: 0.3,
    },
    Date.now() - 900_000,
  );
  relay.publish(
    "long",
    { state: "REINDEX", progress: 0.62, title: "Reindex of the archive", pipeline: "search" },
    Date.now() - 40_000,
  );
  for (let n = 0; n < 990; n += 1) {
    const level = n % 97 === 13 ? "warning" : n % 211 === 5 ? "error" : n % 5 === 0 ? "debug" : "info";
    relay.publish(
      "long",
      { log: `shard ${n % 40}: ${1_000 + n * 37} documents, ${(n % 9) + 1}.${n % 10} MB/s`, level },
      Date.now() - 40_000 + n * 40,
    );
  }
  relay.publish("queued-1", { state: "QUEUED", title: "비 오는 날의 라면", pipeline: "shorts" });
  relay.publish(
    "unplanned",
    { state: "CRAWLING", title: "Crawl without a plan", pipeline: "search", log: "unknown number of pages" },
    Date.now() - 12_000,
  );
  const browser = await launch();
  try {
    for (const shot of SHOTS.filter(({ name }) => name.includes(only))) {
      // A new run for each screenshot, so that it is always five seconds old.
      relay.runs.delete("live");
      running(relay, "live", "A cat who travels to the moon");
      await take(browser, relay, shot, folder);
    }
  } finally {
    await browser.close();
    await relay.stop();
  }
}

async function take(browser: Browser, relay: FakeRelay, shot: Shot, folder: string): Promise<void> {
  const [width, height] = shot.size ?? [1280, 820];
  const context = await browser.newContext({
    viewport: { width, height },
    deviceScaleFactor: width < 500 ? 2 : 1,
    colorScheme: shot.theme ?? "light",
    locale: shot.language ?? "en",
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => process.stdout.write(`${shot.name}: ${error.message}\n`));
  page.on(
    "console",
    (message) => message.type() === "error" && process.stdout.write(`${shot.name}: ${message.text()}\n`),
  );
  await page.goto(relay.url + shot.path);
  await shot.before?.(page, relay);
  await page.evaluate(() => document.fonts.ready);
  // a video shows its poster only after the picture was loaded
  await page.waitForFunction(() =>
    [...document.querySelectorAll("video")].every((video) => video.readyState >= 1),
  );
  await page.screenshot({ path: `${folder}/${shot.name}.png` });
  await shot.after?.(relay);
  process.stdout.write(`${shot.name}\n`);
  await context.close();
}
