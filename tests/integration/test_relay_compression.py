"""What is compressed: JSON from 1 KB on and the dashboard's files, for clients that accept it; streams never."""

from __future__ import annotations

import gzip
import json
import re

import httpx
import pytest

from runrelay.progress import Event, make_event
from tests.support.clients import watch_stream
from tests.support.relay import Producer, Served, StartRelay
from tests.support.sub_paths import BUILT

_GZIP = {"Accept-Encoding": "gzip, deflate, br, zstd"}


async def _raw(relay: Served, path: str, headers: dict[str, str], method: str = "GET") -> tuple[httpx.Response, bytes]:
    """An answer, and its body as it is on the wire."""
    request = relay.http.build_request(method, path, headers=headers)
    answer = await relay.http.send(request, stream=True)
    body = b"".join([piece async for piece in answer.aiter_raw()])
    await answer.aclose()
    return answer, body


@pytest.mark.parametrize("lines", [40, 4_000], ids=["at once", "in a thread"])
async def test_json_is_compressed(start_relay: StartRelay, producer: Producer, run_id: str, lines: int) -> None:
    """A snapshot of 512 KiB went over a phone's link as it was, at each poll."""
    relay = await start_relay(log_lines=1000)
    await producer.commit(run_id, [_line(f"line {number} of the log: a picture is painted") for number in range(lines)])
    path = f"/api/runs/{run_id}"
    answer, body = await _raw(relay, path, _GZIP)
    assert answer.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["vary"]
    assert int(answer.headers["content-length"]) == len(body)
    assert answer.headers["etag"] == f'"{producer.cursors[run_id][-1]}"', "it is the cursor, whatever the coding"
    plain, whole = await _raw(relay, path, {"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    assert gzip.decompress(body) == whole
    assert len(body) < len(whole) / 3
    head, nothing = await _raw(relay, path, _GZIP, "HEAD")
    assert head.headers["content-encoding"] == "gzip"
    assert nothing == b""
    refused, _ = await _raw(relay, path, {"Accept-Encoding": "gzip;q=0, br"})
    assert "content-encoding" not in refused.headers
    small, _ = await _raw(relay, "/api/pipelines", _GZIP)
    assert "content-encoding" not in small.headers


async def test_a_stream_is_not_compressed(start_relay: StartRelay, producer: Producer, run_id: str) -> None:
    """Its events would wait in the compressor."""
    relay = await start_relay()
    await producer.commit(run_id, [_line(f"line {number}") for number in range(200)])
    async with watch_stream(relay.http, relay.run(run_id, "/events"), run_id, headers=_GZIP) as stream:
        assert len((await stream.frame("initial_state"))["logs"]) == 200
        assert "content-encoding" not in stream.response.headers


def _line(text: str) -> Event:
    return make_event(log=text)


@pytest.mark.skipif(not BUILT.is_file(), reason="no built dashboard: make setup")
async def test_the_dashboard_s_files_are_sent_compressed(start_relay: StartRelay) -> None:
    """390 KB of script came over the wire where 105 do."""
    relay = await start_relay(dashboard=True)
    page = (await relay.http.get("/runs/x")).text
    sizes = {}
    for name in re.findall(r'"\.\./(assets/[^"]+)"', page):
        whole, content = await _raw(relay, f"/{name}", {"Accept-Encoding": "identity"})
        sizes[name] = {"": len(content)}
        for coding in ("br", "gzip"):
            answer, body = await _raw(relay, f"/{name}", {"Accept-Encoding": coding})
            assert answer.headers["content-encoding"] == coding
            assert answer.headers["content-type"] == whole.headers["content-type"]
            assert answer.headers["cache-control"] == whole.headers["cache-control"]
            assert answer.headers["etag"] != whole.headers["etag"], "a cache must not mix them up"
            assert "Accept-Encoding" in answer.headers["vary"]
            sizes[name][coding] = len(body)
            if coding == "gzip":
                assert gzip.decompress(body) == content
            same = await relay.http.get(
                f"/{name}", headers={"Accept-Encoding": coding, "If-None-Match": answer.headers["etag"]}
            )
            assert same.status_code == 304
    assert len(sizes) == 2, "script and styles"
    assert all(size["br"] < size["gzip"] < size[""] / 3 for size in sizes.values())


_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere", "there is nothing at /nowhere"),
        ("/no<script>where", "there is nothing at /no&lt;script&gt;where"),
        ("/api/runs/never%20seen/logs", "never seen"),
    ],
)
async def test_a_person_who_gets_lost_is_shown_a_page(relay: Served, path: str, said: str) -> None:
    """It was `{"detail":"Not Found"}`. A program is still given the problem document."""
    page = await relay.http.get(path, headers=_BROWSER)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"
    assert said in page.text
    assert "<script" not in page.text
    for accept in ("*/*", "application/json", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"):
        document = await relay.http.get(path, headers={"Accept": accept})
        assert document.headers["content-type"] == "application/problem+json"
        assert json.loads(document.text)["status"] == 404
