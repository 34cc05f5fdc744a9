"""The dashboard below a path, in Chromium: behind a proxy that says nothing of it, mounted, and in an application."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import ConsoleMessage, Error, Page, Response, async_playwright, expect

from tests.support.clients import DEADLINE_S
from tests.support.relay import Producer
from tests.support.sub_paths import BUILT, NGINX, under_a_path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.skipif(NGINX is None, reason="no nginx on this machine (Debian: apt-get install nginx-light)")
@pytest.mark.skipif(not BUILT.is_file(), reason="no built dashboard: make setup")
async def test_the_dashboard_works_below_a_path(
    redis_url: str, prefix: str, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """It was a blank page: its scripts, its API and its links were asked for at the root of the site."""
    settings = {"redis_url": redis_url, "prefix": prefix, "files": tmp_path / "files"}
    await producer.say(run_id, "RENDERING", 0.5, "a line of the log")
    async with under_a_path(settings, tmp_path) as addresses, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = await browser.new_context(locale="en")
        for path in ("/relay", "/included"):  # the others differ in nothing that a browser sees
            address = addresses[path]
            page = await context.new_page()
            page.set_default_timeout(DEADLINE_S * 1_000)
            complaints = _complaints_of(page)
            await _walk(page, address, run_id)
            assert complaints == []
            await page.close()
        await browser.close()


def _complaints_of(page: Page) -> list[str]:
    """What goes wrong on a page, as it happens: errors, messages of the console, refused requests."""
    complaints: list[str] = []

    def refused(answer: Response) -> None:
        if answer.status >= 400:
            complaints.append(f"{answer.status} {answer.url}")

    def failed(error: Error) -> None:
        complaints.append(str(error))

    def said(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    page.on("response", refused)
    page.on("pageerror", failed)
    page.on("console", said)
    return complaints


async def _walk(page: Page, address: str, run_id: str) -> None:
    """From the list to the run, a reload there, and back."""
    await page.goto(f"{address}/")
    await page.get_by_role("link", name=re.compile(re.escape(run_id))).first.click()
    await expect(page).to_have_url(f"{address}/runs/{quote(run_id)}")
    await expect(page.get_by_role("log").get_by_text("a line of the log")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("log").get_by_text("a line of the log")).to_be_visible()
    icon = await page.evaluate("() => fetch(new URL('../favicon.svg', location)).then((it) => it.status)")
    assert icon == 200
    await page.locator("a.brand").click()
    await expect(page).to_have_url(f"{address}/")
    await expect(page.get_by_role("link", name=re.compile(re.escape(run_id))).first).to_be_visible()
