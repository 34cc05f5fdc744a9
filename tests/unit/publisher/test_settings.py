"""The worker's settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from runrelay import PublisherSettings
from runrelay.outbox import Publisher


def test_defaults_are_the_original_system_s() -> None:
    """A default that differs from the relay's."""
    settings = PublisherSettings.from_env({})
    assert settings == PublisherSettings()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.keys.prefix, settings.keys.channel) == ("autoshorts", "autoshorts:progress")
    assert (settings.outbox_bytes, settings.flush_ms, settings.spool) == (64 * 1024 * 1024, 0.0, None)


def test_every_setting_is_read_from_the_environment() -> None:
    """A documented variable that is not read."""
    settings = PublisherSettings.from_env(
        {
            "REDIS_URL": "redis://elsewhere:7000/3",
            "RUNRELAY_PREFIX": "films",
            "RUNRELAY_FLUSH_MS": "25",
            "RUNRELAY_OUTBOX_BYTES": "1000000",
            "RUNRELAY_SPOOL": "/var/spool/films",
            "RUNRELAY_WORKER_HEARTBEAT_S": "2.5",
            "RUNRELAY_RUN_TTL_S": "100",
            "RUNRELAY_ENDED_RUN_TTL_S": "10",
            "RUNRELAY_LOG_LINES": "50",
            "RUNRELAY_QUICK_PATH": "0",
        }
    )
    assert not settings.quick_path
    assert settings.redis_url == "redis://elsewhere:7000/3"
    assert (settings.keys.prefix, settings.keys.channel) == ("films", "films:progress")
    assert (settings.flush_ms, settings.outbox_bytes, settings.heartbeat_s) == (25.0, 1_000_000, 2.5)
    assert settings.spool == Path("/var/spool/films")
    assert (settings.retention.run_ttl_s, settings.retention.ended_run_ttl_s, settings.retention.log_lines) == (
        100,
        10,
        50,
    )
    assert PublisherSettings.from_env({"RUNRELAY_CHANNEL": "news"}).keys.channel == "news"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RUNRELAY_FLUSH_MS", "soon", "must be a number, got 'soon'"),
        ("RUNRELAY_FLUSH_MS", "-1", "must be 0 or more, got -1"),
        ("RUNRELAY_FLUSH_MS", "nan", "must be 0 or more"),
        ("RUNRELAY_OUTBOX_BYTES", "1.5", "must be a whole number"),
        ("RUNRELAY_OUTBOX_BYTES", "10", "must be 65536 or more, got 10"),
        ("RUNRELAY_LOG_LINES", "0", "must be 1 or more, got 0"),
        ("RUNRELAY_PREFIX", "a{b", ": a prefix of keys has .* no braces and no spaces, got 'a{b'"),
    ],
)
def test_an_error_names_the_wrong_variable(name: str, value: str, words: str) -> None:
    """A worker that starts with a wrong setting."""
    with pytest.raises(ValueError, match=f"{name} ?{words}"):
        PublisherSettings.from_env({name: value})


def test_an_empty_value_counts_as_absent() -> None:
    """A compose file's `RUNRELAY_SPOOL=` that makes a spool in the current folder."""
    assert (
        PublisherSettings.from_env({"RUNRELAY_SPOOL": "", "RUNRELAY_FLUSH_MS": "", "REDIS_URL": ""})
        == PublisherSettings()
    )


def test_a_wrong_url_is_refused_at_once() -> None:
    """A wrong REDIS_URL that only raises in the flusher's thread."""
    with pytest.raises(ValueError, match="URL"):
        Publisher(PublisherSettings(redis_url="localhost:6379"))


def test_a_spool_folder_that_cannot_be_made_is_logged_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be made, and is only found out in the outage that the spool is for; or that fails the
    task."""
    taken = tmp_path / "file"
    taken.touch()
    Publisher(PublisherSettings(spool=taken / "spool"))
    assert caplog.messages == [f"the spool in {taken / 'spool'} cannot be used: Not a directory"]
