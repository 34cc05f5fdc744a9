"""Scripts: loaded from their files, known to Redis by their SHA-1."""

import hashlib
import re
from pathlib import Path

import pytest

from runrelay.progress import ENDED, TERMINAL_STATES
from runrelay.progress.checks import MAX_DATA_BYTES, MAX_STEPS
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


PARTS = ("read_run", "steps", "attempts", "fold_event", "data", "append", "publish", "marks")


def test_a_script_is_put_together_from_its_parts() -> None:
    """A part that is missing is a commit that does without it."""
    for script in (scripts.COMMIT, scripts.DELETE, scripts.HEARTBEAT):
        assert "-- include" not in script.text
        assert script.text.count("local function has_ended(") == 1
    for part in PARTS:
        assert scripts.COMMIT.text.count(f"-- Part of commit.lua: {part}.") == 1


def test_which_statuses_are_an_end_is_said_once_in_lua_and_as_in_python() -> None:
    """A status that one script takes for an end and another does not: a run that is deleted while it runs."""
    folder = Path(scripts.__file__).parent
    for file in folder.glob("*.lua"):
        compared = set(re.findall(r"[sS]tatus\)? == '(\w+)'", file.read_text()))
        if file.name == "ends.lua":
            assert compared == ENDED
        else:
            assert not {"cancelled", "failed"} <= compared, file.name
            chains = re.findall(r"[sS]tatus\)? == '(\w+)'(?= or )", file.read_text())
            assert {"cancelled", "failed"}.isdisjoint(chains), file.name
    states = re.search(r"TERMINAL = {(.*)}", scripts.COMMIT.text)
    assert states is not None
    assert dict(re.findall(r"(\w+) = '(\w+)'", states[1])) == TERMINAL_STATES


def test_the_limits_of_the_scripts_are_those_of_python() -> None:
    """A limit that is raised on one side only."""
    limits = re.search(r"local (FIRST.*) = ([0-9, ]+)", scripts.COMMIT.text)
    assert limits is not None
    said = dict(zip(limits[1].split(", "), map(int, limits[2].split(", ")), strict=True))
    assert (said["MAX_STEPS"], said["MAX_DATA_BYTES"]) == (MAX_STEPS, MAX_DATA_BYTES)


def test_every_command_of_the_relays_scripts_is_tried_for_its_right() -> None:
    """A command that is added to a script, and whose missing right nobody is told of."""
    given = {
        command
        for script in (scripts.COMMIT, scripts.READ, scripts.DELETE, scripts.EXPIRE_HEARTBEATS, scripts.LEASE)
        for command in re.findall(r"redis\.p?call\('([A-Z]+)'", script.text)
    }
    tried = set(re.findall(r"try\('([A-Z]+)'", scripts.RIGHTS.text))
    assert given - tried == {"PUBLISH"}, "this one the probe tries"
