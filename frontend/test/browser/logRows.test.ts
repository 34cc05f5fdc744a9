import { describe, expect, it } from "vitest";
import { chromiumPath } from "./chromium";
import { runPath, stage } from "./page";

describe.skipIf(chromiumPath() === null)("log rows in Chromium", () => {
  const at = stage();

  it("show what a terminal would: rewritten lines, colours, links; and what it would hide", async () => {
    at.relay.publish("r", { state: "WRITING", log: "10%\r55%\r100%" });
    at.relay.publish("r", { log: "\u001b[38;5;226myellow\u001b[0m \u001b[38;2;0;0;0mblack\u001b[0m" });
    at.relay.publish("r", { log: "see https://a.example/docs?page=2." });
    at.relay.publish("r", { log: "copy \u202eexe.tac\u202c" });
    const page = await at.open(runPath("r"));
    const messages = page.locator(".log-row .log-message");
    await messages.nth(3).waitFor();
    expect(await messages.nth(0).textContent()).toBe("100%");
    expect(await messages.nth(3).textContent()).toBe("copy <U+202E>exe.tac<U+202C>");
    const link = page.getByRole("link", { name: "https://a.example/docs?page=2", exact: true });
    expect(await link.getAttribute("href")).toBe("https://a.example/docs?page=2");
    expect(await link.getAttribute("rel")).toContain("noopener");
    // The lightness of the text, as the browser has computed it: readable in both themes.
    const lightness = async (text: string) => {
      const colour = await page.getByText(text, { exact: true }).evaluate((e) => getComputedStyle(e).color);
      return Number(/^oklch\(([\d.]+)/.exec(colour)?.[1]);
    };
    await page.emulateMedia({ colorScheme: "light" });
    expect(await lightness("yellow")).toBeLessThan(0.6);
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await lightness("black")).toBeGreaterThan(0.7);
  });

  it("a monster line is folded; its button shows the rest for good, also after scrolling away", async () => {
    at.relay.publish("r", { state: "WRITING", log: `${"word ".repeat(1_000)}the end` });
    for (let n = 0; n < 300; n += 1) at.relay.publish("r", { log: `line ${n}` });
    const page = await at.open(runPath("r"));
    await page.locator(".log-row", { hasText: "line 299" }).waitFor();
    const box = page.locator(".log-box");
    await box.hover();
    await page.mouse.wheel(0, -20_000);
    const more = page.getByRole("button", { name: "Show 3,007 more characters" });
    expect(await page.locator(".log-row").first().textContent()).not.toContain("the end");
    await more.click();
    await page.locator(".log-row", { hasText: "the end" }).waitFor();
    await box.evaluate((element) => element.scrollTo(0, element.scrollHeight));
    await page.locator(".log-row", { hasText: "line 299" }).waitFor();
    await box.evaluate((element) => element.scrollTo(0, 0));
    await page.locator(".log-row", { hasText: "the end" }).waitFor();
    expect(await more.count()).toBe(0);
  });

  it("a search finds what is folded, and opens it", async () => {
    at.relay.publish("r", { state: "WRITING", log: `${"word ".repeat(1_000)}the end` });
    const page = await at.open(runPath("r"));
    await page.getByRole("button", { name: /more characters/ }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("the end");
    await page.locator(".log-row mark", { hasText: "the end" }).waitFor();
  });

  it("without wrapping a line is one row; the choice is kept, and rows do not overlap", async () => {
    for (let n = 0; n < 60; n += 1)
      at.relay.publish("r", {
        state: "WRITING",
        log: n % 3 === 0 ? `${"long ".repeat(80)}${n}\nsecond` : `line ${n}`,
      });
    const page = await at.open(runPath("r"));
    const rows = page.locator(".log-row");
    await rows.first().waitFor();
    /** The heights of the rows in sight; each begins where the one before ends. */
    const heights = async () => {
      const places = await rows.evaluateAll((all) =>
        all.map((row) => row.getBoundingClientRect()).map(({ top, height }) => ({ top, height })),
      );
      places.sort((a, b) => a.top - b.top);
      places.slice(1).forEach(({ top }, index) => {
        const before = places[index];
        expect(Math.abs(top - (before?.top ?? 0) - (before?.height ?? 0))).toBeLessThan(1);
      });
      return [...new Set(places.map(({ height }) => Math.round(height)))].sort((a, b) => a - b);
    };
    const wrap = page.getByRole("button", { name: "Wrap long lines" });
    expect(await wrap.getAttribute("aria-pressed")).toBe("true");
    expect(Math.max(...(await heights()))).toBeGreaterThan(40);
    await wrap.click();
    await expect.poll(heights).toEqual([20, 40]);
    const box = page.locator(".log-box");
    expect(await box.evaluate((element) => element.scrollWidth > element.clientWidth)).toBe(true);
    await page.reload();
    await rows.first().waitFor();
    await expect.poll(heights).toEqual([20, 40]);
    await wrap.click();
    await expect.poll(async () => Math.max(...(await heights()))).toBeGreaterThan(40);
  });
});
