"""Scripts: loaded from their files, known to Redis by their SHA-1."""

import hashlib
import re

import pytest

from runrelay.runlog import Keys, reads, scripts
from runrelay.runlog.reads import read_args


@pytest.mark.parametrize("name", ["COMMIT", "READ", "HEARTBEAT", "DELETE", "LEASE"])
def test_a_script_is_its_file(name: str) -> None:
    """A wrong hash would send the whole script with each command."""
    script: scripts.Script = getattr(scripts, name)
    assert script.name == name.lower()
    assert script.text.startswith("-- ")
    assert script.sha == hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()


def test_all_of_them_are_public() -> None:
    """A script that is not named is not tested."""
    loaded = {name for name, value in vars(scripts).items() if isinstance(value, scripts.Script)}
    assert loaded | {"Script"} == set(scripts.__all__)


def test_a_read_s_values_are_told_apart_by_their_order() -> None:
    """If the script reads other fields first than the client expects, a state is shown as the title."""
    call = re.search(r"HMGET', KEYS\[1\], (.*), unpack\(ARGV, 6\)\)", scripts.READ.text)
    assert call is not None
    assert tuple(re.findall(r"'(\w+)'", call[1])) == reads._SCRIPT_FIELDS
    assert read_args(Keys(), "r", None, event_bytes=1, log_lines=1)[3 + 6 - 1 :] == list(reads._FIELDS)


def test_a_script_is_put_together_from_its_parts() -> None:
    """A part that is not there: a commit that does without it."""
    assert "-- include" not in scripts.COMMIT.text
    for part in ("steps", "marks"):
        assert f"-- Part of commit.lua: {part}" in scripts.COMMIT.text


def test_every_command_of_the_relays_scripts_is_tried_for_its_right() -> None:
    """A command that is added to a script, and whose missing right nobody is told of."""
    given = {
        command
        for script in (scripts.COMMIT, scripts.READ, scripts.DELETE, scripts.EXPIRE_HEARTBEATS, scripts.LEASE)
        for command in re.findall(r"redis\.p?call\('([A-Z]+)'", script.text)
    }
    tried = set(re.findall(r"try\('([A-Z]+)'", scripts.RIGHTS.text))
    assert given - tried == {"PUBLISH"}, "this one the probe tries"
