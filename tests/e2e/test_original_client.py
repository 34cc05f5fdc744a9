"""The client of the original system, unchanged, in Chromium: the four-field protocol is kept."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import async_playwright, expect

from tests.support.clients import DEADLINE_S, eventually
from tests.support.relay import Producer, StartRelay

PAGE = Path(__file__).with_name("original_client.html")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@asynccontextmanager
async def _page_server() -> AsyncIterator[int]:
    """Serves the page from an origin of its own, as the original system did."""
    page = PAGE.read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + page)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
async def test_the_original_client_works_unchanged(
    start_relay: StartRelay, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """Whoever moves to the relay changes the server first, and the page some other day."""
    relay = await start_relay(end_after_s=0.5, allowed_origins=("*",))
    await producer.say(run_id, "PLOT_GENERATION", 0.10, "플롯 생성 시작: 프롬프트 분석 중...")
    async with _page_server() as page_port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = await browser.new_page()
        page.set_default_timeout(DEADLINE_S * 1000)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        query = urlencode({"run_id": run_id, "relay": f"127.0.0.1:{relay.port}"})
        await page.goto(f"http://127.0.0.1:{page_port}/?{query}")
        lines = page.locator("#logs li")
        await expect(lines).to_have_text(["플롯 생성 시작: 프롬프트 분석 중..."])
        await expect(page.locator("#bar")).to_have_js_property("value", 0.1)

        await producer.say(run_id, "RENDERING", 0.75, "렌더링 단계 시작")
        await expect(page.locator("#state")).to_have_text("RENDERING")
        await expect(page.locator("#bar")).to_have_js_property("value", 0.75)
        # the original worker's own message, straight on the channel
        await eventually(lambda: relay.relay.adopter.statistics().after_marker, "the relay adopts")
        await producer.publish(f'{{"run_id": "{run_id}", "log": "QA: 품질 검수 시작..."}}')
        await expect(lines).to_have_count(3)
        await expect(page.locator("#bar")).to_have_js_property("value", 0.75)  # no progress given: it stays

        await producer.say(run_id, "END", log="영상 생성 완료! 🎉")
        await expect(page.locator("#bar")).to_have_js_property("value", 1)
        await expect(lines.last).to_have_text("영상 생성 완료! 🎉")
        await expect(page.locator("#completed")).to_have_text("completed 1: 4 lines")
        await page.screenshot(path=tmp_path / "original_client.png")
        assert wrong == []
        await browser.close()
