/** The browser tests' relay, browser and pages. Every error or warning in a page's console fails the test. */

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
  /** Substrings of console messages that a test expects, such as those of connections that it cuts. */
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

/** A picture of one pixel: the content of files is tested with the pipelines. */
const PIXEL = Buffer.from("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7", "base64");

export const runPath = (runId: string) => `/runs/${encodeURIComponent(runId)}`;

/** All lines of the log by line number, as a reader who scrolls through it sees them. */
export async function logText(page: Page): Promise<string[]> {
  return page.locator(".log-row .log-message").allInnerTexts();
}
