"""Names of environment variables: a misspelt one is said, with the one that was meant."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runrelay.environment import KNOWN, unknown_names
from runrelay.relay import Settings
from tests.support.command_line import invoke
from tests.support.relay import serve_here

ROOT = Path(__file__).resolve().parents[2]
# Settings whose variables have the usual names: REDIS_URL and PORT.
_USUAL = {"redis_url", "port"}


def named_in_sources() -> set[str]:
    """Every `RUNRELAY_…` in a string of the sources."""
    files = [*(ROOT / "backend").rglob("*.py"), *(ROOT / "workers").rglob("*.py"), ROOT / "frontend" / "vite.config.ts"]
    files = [*files, ROOT / "scripts" / "hatch_hooks.py"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return set(re.findall(r"\bRUNRELAY_[A-Z0-9_]+(?<!_)\b", text)) - {"RUNRELAY_SHORTS"}  # the beginning of five names


def test_the_known_names_are_those_that_are_read() -> None:
    """A new setting that is called unknown at each start, or a removed one that is not."""
    fields = {f"RUNRELAY_{name.upper()}" for name in Settings.model_fields if name not in _USUAL}
    assert fields | named_in_sources() == KNOWN


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RUNRELAY_JWT_SECRT", "did you mean RUNRELAY_JWT_SECRET?"),
        ("RUNRELAY_PREFX", "did you mean RUNRELAY_PREFIX?"),
        ("RUNRELAY_MAX_CONNECTION", "did you mean RUNRELAY_MAX_CONNECTIONS?"),
        ("RUNRELAY_REDIS_URL", "did you mean REDIS_URL?"),
        ("RUNRELAY_COLOUR", "README.md lists the settings"),
        ("runrelay_jwt_secrt", "did you mean RUNRELAY_JWT_SECRET?"),
    ],
)
def test_a_misspelt_name_is_said_with_the_nearest_right_one(name: str, words: str) -> None:
    (sentence,) = unknown_names({name: "x", "RUNRELAY_JWT_SECRET": "x", "runrelay_prefix": "x", "HOME": "/"})
    assert sentence == f"the environment variable {name} is no setting and is ignored: {words}"


async def test_a_relay_in_an_application_says_it_at_start(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`RUNRELAY_JWT_SECRT=…` started a relay that is open to everybody, without a word."""
    monkeypatch.setenv("RUNRELAY_JWT_SECRT", "0123456789abcdef0123456789abcdef")
    async with serve_here({"redis_url": redis_url, "files": tmp_path}):
        pass
    warned = [record for record in caplog.records if "RUNRELAY_JWT_SECRT" in record.getMessage()]
    assert [(record.levelno, "did you mean RUNRELAY_JWT_SECRET?" in record.getMessage()) for record in warned] == [
        (logging.WARNING, True)
    ]


def test_a_command_says_it(redis_url: str) -> None:
    """A list of runs that is empty, because the prefix is misspelt."""
    done = invoke("runs", env={"REDIS_URL": redis_url, "RUNRELAY_PREFX": "films"})
    assert done.exit_code == 0
    assert "RUNRELAY_PREFX is no setting and is ignored: did you mean RUNRELAY_PREFIX?" in done.stderr


def test_a_worker_says_it_once(redis_url: str) -> None:
    """A worker whose events nobody sees, because its prefix is misspelt."""
    program = "from runrelay import flush, publish_progress; publish_progress('a'); publish_progress('b'); flush(0.1)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "REDIS_URL": redis_url, "RUNRELAY_PREFX": "films"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("did you mean RUNRELAY_PREFIX?") == 1
