/** What the browser tests share: a relay, a browser, and pages whose every complaint is a failure. */

import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { FakeRelay } from "../fake/relay";
import { SCAN, SHORTS } from "../fake/scenes";
import { BUILT } from "./build";
import { launch } from "./chromium";

export interface Stage {
  relay: FakeRelay;
  /** Open a page of the dashboard in its own browser context. */
  open(
    path: string,
    options?: BrowserContextOptions,
    before?: (page: Page) => Promise<unknown>,
  ): Promise<Page>;
  /** Complaints that a test expects (of connections it cuts): substrings. */
  allow(...complaints: string[]): void;
}

export function stage(): Stage {
  let browser: Browser;
  let complaints: string[] = [];
  let allowed: string[] = [];
  const self: Stage = {
    relay: new FakeRelay(BUILT),
    allow: (...texts) => allowed.push(...texts),
    open: async (path, options = {}, before) => {
      const context = await browser.newContext({
        viewport: { width: 1280, height: 800 },
        locale: "en",
        ...options,
      });
      const page = await context.newPage();
      page.setDefaultTimeout(10_000);
      page.on("pageerror", (error) => complaints.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
      });
      await before?.(page);
      await page.goto(self.relay.url + path);
      return page;
    },
  };
  beforeAll(async () => {
    browser = await launch();
  });
  beforeEach(async () => {
    complaints = [];
    allowed = [];
    self.relay = new FakeRelay(BUILT);
    self.relay.pipelines = [SHORTS, SCAN];
    self.relay.files.set("poster.jpg", PIXEL).set("film.mp4", PIXEL);
    await self.relay.start();
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
    await self.relay.stop();
    expect(complaints.filter((text) => !allowed.some((part) => text.includes(part)))).toEqual([]);
  });
  afterAll(() => browser.close());
  return self;
}

/** A picture of one pixel: what is in a file is the pipelines' tests' business. */
const PIXEL = Buffer.from("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7", "base64");

export const runPath = (runId: string) => `/runs/${encodeURIComponent(runId)}`;

/** The log as it stands, by line number: what a reader sees when scrolling through all of it. */
export async function logText(page: Page): Promise<string[]> {
  return page.locator(".log-row .log-message").allInnerTexts();
}
