import { describe, expect, it } from "vitest";
import { chromiumPath } from "./chromium";
import { runPath, stage } from "./page";

describe.skipIf(chromiumPath() === null)("a long log in Chromium", () => {
  const at = stage();
  const atEnd = () => {
    const box = document.querySelector(".log-box");
    return box !== null && box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  };

  it("10,000 lines and more come in while it follows: few rows in the page, no task over 50 ms", async () => {
    at.relay.publish("r", { state: "WRITING", log: "line 0" });
    const page = await at.open(runPath("r"));
    await page.locator(".log-row").first().waitFor();
    await page.evaluate(() => {
      const tasks: number[] = [];
      Object.assign(window, { tasks });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) tasks.push(entry.duration);
      }).observe({ type: "longtask" });
    });
    let written = 0;
    /**
     * Writes as a busy worker does: a hundred lines, then a pause in which the page renders. Returns the long tasks.
     */
    const write = async (count: number) => {
      for (const end = written + count; written < end; ) {
        written += 1;
        at.relay.publish("r", { log: `line ${written} ${"word ".repeat(written % 30)}.` });
        if (written % 100 === 0) await page.evaluate(() => new Promise(requestAnimationFrame));
      }
      await page.locator(".log-row", { hasText: `line ${written} ` }).waitFor();
      return page.evaluate(() => (window as unknown as { tasks: number[] }).tasks.splice(0));
    };
    await write(10_000);
    expect(await page.evaluate(atEnd)).toBe(true);
    expect(await page.locator(".log-row").count()).toBeLessThan(120);
    expect(await page.getByText("10,001 lines").count()).toBe(1);
    // Measure with the longest log, the hardest case. A busy machine only adds long tasks: one round without a long
    // task
    // shows that the page has none.
    let longTasks: readonly number[] = [];
    for (let round = 0; round < 10; round += 1) {
      longTasks = await write(500);
      if (longTasks.length === 0) break;
    }
    expect(longTasks).toEqual([]);
  }, 60_000);

  it("scrolling up pauses and counts what is new; the button follows again", async () => {
    for (let n = 0; n < 300; n += 1) at.relay.publish("r", { state: "WRITING", log: `line ${n}` });
    const page = await at.open(runPath("r"));
    await page.getByText("line 299", { exact: true }).first().waitFor();
    await page.locator(".log-box").hover();
    await page.mouse.wheel(0, -1_500);
    await page.getByRole("button", { name: "Follow", exact: true }).waitFor();
    for (let n = 300; n < 320; n += 1) at.relay.publish("r", { log: `line ${n}` });
    await page.getByRole("button", { name: "20 new lines" }).waitFor();
    expect(await page.evaluate(atEnd)).toBe(false);
    await page.getByRole("button", { name: "20 new lines" }).click();
    await page.getByText("line 319", { exact: true }).first().waitFor();
    at.relay.publish("r", { log: "the newest" });
    await page.locator(".log-row", { hasText: "the newest" }).waitFor();
    expect(await page.evaluate(atEnd)).toBe(true);
  });

  it("earlier lines are loaded at the top, keep their numbers and do not move what is read", async () => {
    for (let n = 1; n <= 3_200; n += 1) at.relay.publish("r", { state: "WRITING", log: `line ${n}` });
    const run = at.relay.runs.get("r");
    if (run === undefined) throw new Error("there is no run");
    run.trimmed = 700;
    const page = await at.open(runPath("r"));
    const row = (n: number) => page.locator(".log-row", { hasText: new RegExp(`line ${n}$`) });
    const shows = async (n: number) => {
      await row(n).waitFor();
      expect(await row(n).locator(".log-number").textContent()).toBe(String(n));
    };
    await shows(3_200);
    await page.getByText("3,200 lines").waitFor();
    const box = page.locator(".log-box");
    await box.hover();
    await page.mouse.wheel(0, -3_000);
    await page.getByRole("button", { name: "Follow", exact: true }).waitFor();
    await box.evaluate((element) => element.scrollTo(0, 0));
    // The first page has come: what was at the top is still in sight, with earlier lines above it.
    await expect.poll(() => box.evaluate((element) => element.scrollTop)).toBeGreaterThan(10_000);
    await shows(2_201);
    const firstNumber = async () => {
      await box.evaluate((element) => element.scrollTo(0, 0));
      return page.locator(".log-row").first().locator(".log-number").textContent();
    };
    await expect.poll(firstNumber).toBe("701");
    await page.getByText("700 earlier lines are no longer kept").waitFor();
    await shows(701);
  });

  it("a search covers all lines that are kept", async () => {
    for (let n = 1; n <= 2_500; n += 1) at.relay.publish("r", { state: "WRITING", log: `line ${n}` });
    const page = await at.open(runPath("r"));
    await page.locator(".log-row", { hasText: "line 2500" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("line 12");
    await page.getByText("of 111").waitFor(); // 12, 120 to 129, 1200 to 1299
  });

  it("search counts and walks hits; levels filter; colours are colours", async () => {
    for (let n = 0; n < 400; n += 1) {
      at.relay.publish("r", {
        state: "WRITING",
        log: `shard ${n % 100}`,
        level: n % 50 === 0 ? "error" : "info",
      });
    }
    at.relay.publish("r", { log: "\u001b[32mgreen\u001b[0m and plain" });
    const page = await at.open(runPath("r"));
    await page.locator(".log-row .ansi-2", { hasText: "green" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("shard 42");
    await page.getByText("1 of 4").waitFor();
    await page.locator(".log-row[data-hit]", { hasText: "shard 42" }).waitFor();
    expect(await page.locator(".log-latest").count()).toBe(0);
    at.relay.publish("r", { log: "one more" });
    await page.getByRole("button", { name: "1 new line" }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByText("2 of 4").waitFor();
    await page.keyboard.press("Shift+Enter");
    await page.getByText("1 of 4").waitFor();
    await page.keyboard.press("Escape");
    await page.getByLabel("Level").selectOption("error");
    await page.locator(".log-row").nth(7).waitFor();
    expect(await page.locator(".log-row").count()).toBe(8);
  });

  it("selecting text stops following, and copied rows have their time on the line", async () => {
    for (let n = 0; n < 200; n += 1) at.relay.publish("r", { state: "WRITING", step: "s", log: `line ${n}` });
    const page = await at.open(runPath("r"));
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const message = (n: number) => page.locator(".log-row", { hasText: `line ${n}` }).locator(".log-message");
    await message(199).waitFor();
    const from = await message(195).boundingBox();
    const to = await message(197).boundingBox();
    if (from === null || to === null) throw new Error("the rows are not shown");
    await page.mouse.move(from.x + 2, from.y + 5);
    await page.mouse.down();
    await page.mouse.move(to.x + 60, to.y + 5, { steps: 5 });
    await page.mouse.up();
    await page.getByRole("button", { name: "Follow", exact: true }).waitFor();
    await page.keyboard.press("Control+c");
    const copied = (await page.evaluate(() => navigator.clipboard.readText())).split("\n");
    expect(copied).toHaveLength(3);
    for (const [index, line] of copied.entries())
      expect(line).toMatch(new RegExp(`^\\d\\d:\\d\\d:\\d\\d sline ${195 + index}$`));
  });

  it("copy gives plain text", async () => {
    at.relay.publish("r", { state: "WRITING", log: "\u001b[31mred\u001b[0m" });
    at.relay.publish("r", { log: "두 번째" });
    const page = await at.open(runPath("r"), { permissions: ["clipboard-read", "clipboard-write"] });
    await page.locator(".log-row").nth(1).waitFor();
    await page.locator(".log").getByRole("button", { name: "Copy" }).click();
    await page.locator(".log").getByRole("button", { name: "Copied" }).waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("red\n두 번째");
  });

  it("the live region speaks rarely, however much is written", async () => {
    at.relay.publish("r", { state: "WRITING", log: "line 0" });
    const page = await at.open(runPath("r"));
    await page.locator(".log-row").first().waitFor();
    await page.evaluate(() => {
      const region = document.querySelector(".log [aria-live=polite]");
      const spoken: string[] = [];
      Object.assign(window, { spoken });
      if (region !== null)
        new MutationObserver(() => spoken.push(region.textContent ?? "")).observe(region, {
          childList: true,
          characterData: true,
          subtree: true,
        });
    });
    for (let n = 1; n <= 500; n += 1) {
      at.relay.publish("r", { log: `line ${n}` });
      if (n % 10 === 0) await page.evaluate(() => new Promise(requestAnimationFrame));
    }
    await page.locator(".log [aria-live=polite]", { hasText: "line 500" }).waitFor();
    const spoken = await page.evaluate(() => (window as unknown as { spoken: string[] }).spoken);
    expect(spoken.length).toBeLessThan(10);
  });
});
