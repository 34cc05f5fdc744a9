import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { failed, running, succeeded } from "../fake/scenes";
import { chromiumPath } from "./chromium";
import { runPath, stage } from "./page";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

async function violations(page: Page): Promise<readonly string[]> {
  // axe is run by evaluate: the page's Content-Security-Policy forbids an added script
  await page.evaluate(await readFile(AXE, "utf8"));
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: () => Promise<{ violations: Violation[] }> } };
    return (await axe.run()).violations;
  });
  return found.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html} ${node.failureSummary ?? ""}`),
  );
}

describe.skipIf(chromiumPath() === null)("everybody can use the dashboard", () => {
  const at = stage();
  const scenes: readonly (readonly [string, string, string])[] = [
    ["the list", "/", ".run-row"],
    ["a live run", runPath("live"), ".log-row"],
    ["a finished run", runPath("done"), ".log-row"],
    ["a failed run", runPath("failed"), ".log-row"],
    ["an unknown run", runPath("nobody"), ".empty"],
    ["the start form", "/new/scan", ".form"],
    ["a missing page", "/runs/a/b", ".empty"],
  ];
  for (const colorScheme of ["light", "dark"] as const) {
    it.each(scenes)(`${colorScheme}: axe finds nothing on %s`, async (_name, path, shown) => {
      succeeded(at.relay, "done", "A finished film");
      failed(at.relay, "failed", "A failed film");
      running(at.relay, "live", "A running film");
      const page = await at.open(path, { colorScheme, reducedMotion: "reduce" });
      await page.locator(shown).first().waitFor();
      expect(await violations(page)).toEqual([]);
    });
  }

  it("in forced colours bars, chosen filters and pressed buttons can be seen", async () => {
    running(at.relay, "live", "A running film");
    const page = await at.open("/?status=active", { forcedColors: "active" });
    const background = (selector: string) =>
      page
        .locator(selector)
        .first()
        .evaluate((element) => getComputedStyle(element).backgroundColor);
    await page.locator(".run-row").first().waitFor();
    expect(await background('[aria-pressed="true"]')).not.toBe(await background('[aria-pressed="false"]'));
    expect(await background(".rr-progress-bar")).not.toBe(await background(".rr-progress-track"));
    await page.locator(".run-row").first().click();
    await page.locator(".log-row").first().waitFor();
    expect(await background(".rr-progress-bar")).not.toBe(await background(".rr-progress-track"));
  });

  it("after a click on a run the focus is in the page, and its title and end are said", async () => {
    running(at.relay, "live", "A running film");
    const page = await at.open("/");
    await page.locator(".run-row").first().click();
    await page.getByRole("heading", { name: "A running film" }).waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("content");
    await expect.poll(() => page.title()).toContain("A running film");
    at.relay.publish("live", { state: "FAILED", error: "no disk" });
    await page.getByRole("alert").getByText("A running film: Failed").waitFor();
  });

  it("the Follow button has a name on a phone", async () => {
    running(at.relay, "live", "A running film");
    const page = await at.open(runPath("live"), { viewport: { width: 390, height: 800 } });
    await page.getByRole("button", { name: "Following" }).waitFor();
  });

  it("axe finds nothing in open menus, dialogs and with the connection lost", async () => {
    at.allow("WebSocket", "ERR_");
    running(at.relay, "live", "A running film");
    const page = await at.open(runPath("live"), { reducedMotion: "reduce" });
    await page.locator(".log-row").first().waitFor();
    await page.getByLabel("Options", { exact: true }).click();
    expect(await violations(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Stop run" }).click();
    expect(await violations(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await at.relay.stop();
    await page.locator(".rr-retry").waitFor();
    expect(await violations(page)).toEqual([]);
  });

  it.each([
    ["the list", "/"],
    ["a run", runPath("live")],
    ["a film", runPath("done")],
    ["a failure", runPath("failed")],
    ["the form", "/new/shorts"],
  ])("on a phone nothing of %s is cut off at the side", async (_name, path) => {
    succeeded(at.relay, "done", "우주를 여행하는 고양이의 아주 길고 긴 이야기, 끝나지 않는 여행");
    failed(at.relay, "failed", "A failed film");
    running(at.relay, "live", "20251105_1430_without_any_place_to_break_a_line_in_this_title");
    const page = await at.open(path, {
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
    });
    await page.locator("h1").waitFor();
    await page.waitForFunction(() => document.querySelector(".skeleton") === null);
    const sideways = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(sideways).toBe(0);
  });

  it("with reduced motion nothing moves", async () => {
    running(at.relay, "live", "A running film");
    const page = await at.open(runPath("live"), { reducedMotion: "reduce" });
    await page.locator(".log-row").first().waitFor();
    const moving = await page.evaluate(
      () => document.getAnimations().filter((animation) => animation.playState === "running").length,
    );
    expect(moving).toBe(0);
  });

  it("a run can be reached and its log scrolled by keyboard alone", async () => {
    running(at.relay, "live", "A running film");
    const page = await at.open("/");
    await page.locator(".run-row .run-title").waitFor();
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to content");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.locator(".log-row").first().waitFor();
    for (let n = 0; n < 30; n += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement?.classList.contains("log-box"))) return;
    }
    expect.fail("the log was not reached in 30 tabs");
  });
});
