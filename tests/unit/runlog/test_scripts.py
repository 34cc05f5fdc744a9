"""Scripts: loaded from their files, known to Redis by their SHA-1."""

import hashlib

import pytest

from runrelay.runlog import scripts


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
