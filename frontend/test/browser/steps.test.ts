import { describe, expect, it } from "vitest";
import type { FakeRelay } from "../fake/relay";
import { chromiumPath } from "./chromium";
import { runPath, stage } from "./page";

const COUNT = 60;
const nameOf = (n: number) => `partition-number-${n}-of-the-table-that-has-a-long-name`;

/** A run of 60 steps with five lines each, of which the first `done` have succeeded and the next one runs. */
function sixtySteps(relay: FakeRelay, done: number): void {
  const steps = Array.from({ length: COUNT }, (_, n) => ({ name: nameOf(n), weight: 1 }));
  relay.publish("r", { state: "WORKING", steps });
  for (let n = 0; n <= done; n += 1) {
    for (let m = 0; m < 5; m += 1)
      relay.publish("r", { step: nameOf(n), step_status: "running", log: `line ${m} of step ${n}.` });
    if (n < done) relay.publish("r", { step: nameOf(n), step_status: "succeeded" });
  }
}

describe.skipIf(chromiumPath() === null)("many steps in Chromium", () => {
  const at = stage();

  it("scroll by themselves to the one that runs; the log stays in sight; names are cut with a title", async () => {
    sixtySteps(at.relay, 40);
    const page = await at.open(runPath("r"));
    const step = (n: number) => page.locator(".rr-step").nth(n);
    /** Whether a step lies within the scrolling box of the steps. */
    const isInSight = (n: number) =>
      step(n).evaluate((row) => {
        const box = row.closest(".steps-box")?.getBoundingClientRect();
        const { top, bottom } = row.getBoundingClientRect();
        return box !== undefined && top >= box.top && bottom <= box.bottom;
      });
    await step(40).waitFor();
    await expect.poll(() => isInSight(40)).toBe(true);
    expect(await page.locator(".steps-box").evaluate((box) => box.clientHeight)).toBeLessThan(600);
    const log = await page.locator(".log").boundingBox();
    expect(log?.y).toBeLessThan(400);
    expect(await page.evaluate(() => scrollY)).toBe(0);
    const name = step(40).locator(".rr-step-text");
    expect(await name.evaluate((text) => text.scrollWidth > text.clientWidth)).toBe(true);
    expect(await step(40).locator(".rr-step-name").getAttribute("title")).toBe(nameOf(40));
    // The next step is followed; not while the pointer is on the steps.
    at.relay.publish("r", { step: nameOf(40), step_status: "succeeded" });
    at.relay.publish("r", { step: nameOf(55), step_status: "running" });
    await expect.poll(() => isInSight(55)).toBe(true);
    await page.locator(".steps-box").hover();
    at.relay.publish("r", { step: nameOf(55), step_status: "succeeded" });
    at.relay.publish("r", { step: nameOf(2), step_status: "running", step_attempt: 2, log: "again." });
    await page.locator(".log-row", { hasText: "again." }).waitFor();
    expect(await isInSight(2)).toBe(false);
    expect(await isInSight(55)).toBe(true);
  });

  it("a click on a step shows its lines alone; the chip, or another click, shows all again", async () => {
    sixtySteps(at.relay, 12);
    const page = await at.open(runPath("r"));
    const rows = page.locator(".log-row");
    const button = page.getByRole("button", { name: nameOf(3), exact: true });
    await rows.nth(5).waitFor();
    await button.click();
    await expect.poll(() => rows.count()).toBe(5);
    expect(await rows.allTextContents()).toEqual(
      [0, 1, 2, 3, 4].map((m) => expect.stringContaining(`line ${m} of step 3.`)),
    );
    expect(await rows.first().locator(".log-number").textContent()).toBe("16");
    expect(await button.getAttribute("aria-pressed")).toBe("true");
    await page.locator(".log-bar").getByRole("button", { name: "Show all steps" }).click();
    await expect.poll(() => rows.count()).toBeGreaterThan(20);
    expect(await button.getAttribute("aria-pressed")).toBe("false");
    const lane = page.locator(".rr-step").nth(4).locator(".rr-lane"); // the whole row can be clicked
    const place = await lane.boundingBox();
    await page.mouse.click((place?.x ?? 0) + 5, (place?.y ?? 0) + 3);
    await expect.poll(() => rows.count()).toBe(5);
    await page.getByRole("button", { name: nameOf(4), exact: true }).click();
    await expect.poll(() => rows.count()).toBeGreaterThan(20);
  });

  it("a step without lines says so", async () => {
    sixtySteps(at.relay, 1);
    const page = await at.open(runPath("r"));
    await page.getByRole("button", { name: nameOf(30), exact: true }).click();
    await page.getByText("This step has no such lines").waitFor();
  });

  it("attempts are separated in the log, also those from before the page was opened", async () => {
    at.relay.publish("r", { state: "WRITING", log: "first try" });
    at.relay.publish("r", { state: "FAILED", error: "boom", log: "it failed" });
    at.relay.publish("r", { state: "WRITING", attempt: 2, log: "second try" });
    const page = await at.open(runPath("r"));
    const headings = page.locator(".log-heading");
    await headings.nth(1).waitFor();
    expect(await headings.allTextContents()).toEqual(["Attempt 1", "Attempt 2"]);
    const row = page.locator(".log-row", { hasText: "Attempt 2" });
    expect(await row.locator(".log-message").textContent()).toBe("second try");
    at.relay.publish("r", { state: "WRITING", attempt: 3, log: "third try" });
    await page.locator(".log-row", { hasText: "Attempt 3" }).waitFor();
    expect(await headings.count()).toBe(3);
  });

  it("a long title is two lines, and can be read in full", async () => {
    const title = "A title that goes on and on. ".repeat(12).trim();
    at.relay.publish("r", { state: "WRITING", title, log: "x" });
    const page = await at.open(runPath("r"));
    const heading = page.locator("h1");
    const more = page.getByRole("button", { name: "Show all", exact: true });
    await more.waitFor();
    const isCut = () => heading.evaluate((element) => element.scrollHeight > element.clientHeight + 1);
    expect(await isCut()).toBe(true);
    await more.click();
    expect(await isCut()).toBe(false);
    await page.getByRole("button", { name: "Show less" }).click();
    expect(await isCut()).toBe(true);
    at.relay.publish("r", { title: "short" });
    await page.locator("h1", { hasText: "short" }).waitFor();
    expect(await more.count()).toBe(0);
  });
});
