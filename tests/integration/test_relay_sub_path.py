"""The relay below a path: its links, and the files that its pages name."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from pydantic import ValidationError

from runrelay.relay import Settings
from tests.support.clients import watch
from tests.support.relay import Producer, serve_here
from tests.support.sub_paths import BUILT, NGINX, under_a_path

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx on this machine (Debian: apt-get install nginx-light)")
_NAMED = re.compile(r'(?:src|href)="([^"]+)"')
_ROOT = re.compile(r'name="runrelay-root" content="([^"]+)"')


@pytest.mark.skipif(not BUILT.is_file(), reason="no built dashboard: make setup")
async def test_a_page_names_its_files_from_wherever_it_is(
    redis_url: str, prefix: str, run_id: str, tmp_path: Path
) -> None:
    """A page under a path was blank: its scripts were asked for at the root of the site."""
    settings = {"redis_url": redis_url, "prefix": prefix, "files": tmp_path / "files"}
    async with (
        under_a_path(settings, tmp_path) as addresses,
        httpx.AsyncClient(trust_env=False, follow_redirects=True) as http,
    ):
        for path, address in addresses.items():
            for page in ("", "/", "/runs", f"/runs/{run_id}", "/runs/a%20b", "/new", "/new/shorts"):
                answer = await http.get(address + page)
                assert answer.status_code == 200, (path, page)
                root = _ROOT.search(answer.text)
                assert root is not None
                assert urljoin(str(answer.url), root[1]) == f"{address}/", (path, page)
                named = _NAMED.findall(answer.text)
                assert len(named) == 3, "script, styles, icon"
                for name in named:
                    file = await http.head(urljoin(str(answer.url), name))
                    assert file.status_code == 200, (path, page, name)
                    assert not file.headers["content-type"].startswith("text/html")


async def test_links_begin_with_the_path_that_is_known(
    redis_url: str, prefix: str, producer: Producer, run_id: str, tmp_path: Path
) -> None:
    """A client that follows `links` came to a place of the proxy where nothing is."""
    settings = {"redis_url": redis_url, "prefix": prefix, "files": tmp_path / "files"}
    async with under_a_path(settings, tmp_path) as addresses, httpx.AsyncClient(trust_env=False) as http:
        await producer.say(run_id, log="heard")
        for path, address in addresses.items():
            answer = await http.get(f"{address}/api/runs/{run_id}")
            assert answer.json()["logs"] == ["heard"], path
            async with watch(f"{address}/ws/{run_id}".replace("http", "ws", 1), run_id) as client:
                await client.frame("initial_state")
            if path in ("/told", "/kept", "/mounted"):  # the relay's own application, which knows where it is
                described = (await http.get(f"{address}/docs")).text
                assert f"'{path}/openapi.json'" in described
                assert (await http.get(f"{address}/openapi.json")).json()["servers"] == [{"url": path}]


@pytest.mark.parametrize("prefix_said", ["//evil.example", "/a/../b?", "https://evil.example", "/a, /b", ""])
async def test_a_prefix_that_is_none_changes_nothing(
    redis_url: str, prefix: str, tmp_path: Path, prefix_said: str
) -> None:
    """Anybody can send the header: it may not lead to another site."""
    settings = {"redis_url": redis_url, "prefix": prefix, "files": tmp_path / "files"}
    async with serve_here(settings) as served:
        answer = await served.http.get("/openapi.json", headers={"X-Forwarded-Prefix": prefix_said})
        assert "servers" not in answer.json()


@pytest.mark.parametrize("wrong", ["relay", "/relay/", "//relay", "/re lay", "https://relay.example"])
def test_a_root_path_is_a_path(wrong: str) -> None:
    """Refused at start: it would be in every link."""
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=wrong)
    Settings(root_path="/relay/of-us")
