"""Keys: names that other tools depend on."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runrelay.progress import check_run_id
from runrelay.runlog import Keys

# No deadline: a test must not fail because the machine is busy.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_the_contract_s_names() -> None:
    """`redis-cli SUBSCRIBE autoshorts:progress` must work without a setting."""
    keys = Keys()
    assert keys.channel == "autoshorts:progress"
    assert keys.run("r") == (
        "autoshorts:run:{r}",
        "autoshorts:run:{r}:events",
        "autoshorts:run:{r}:logs",
    )
    assert keys.runs == "autoshorts:runs"
    assert keys.channel_of("r") in keys.channels
    assert keys.channels[-1] == keys.control
    assert Keys("other", "news").run("r")[0] == "other:run:{r}"


def _slot(key: str) -> str:
    """The part of a key that Redis Cluster hashes: that in the first non-empty braces, else the whole key."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key[start + 1 : end] if 0 <= start < end - 1 else key


@steady
@given(st.text(min_size=1, max_size=30))
def test_a_run_s_keys_are_in_one_slot_and_lead_back_to_it(text: str) -> None:
    """A script may touch only keys of one slot; the list is repaired from the names of the hashes."""
    try:
        run_id = check_run_id(text)
    except ValueError:
        return
    keys = Keys("p")
    assert {_slot(key) for key in keys.run(run_id)} == {run_id}
    own, *others = keys.run(run_id)
    assert keys.run_id_of(own) == run_id
    assert [keys.run_id_of(key) for key in others] == [None, None]


@pytest.mark.parametrize("key", ["p:runs", "p:run:", "p:run:{", "q:run:{r}", "p:run:{r}:events", "p:alive"])
def test_another_key_is_no_run(key: str) -> None:
    """What is not a run's hash is not listed as one."""
    assert Keys("p").run_id_of(key) is None


@pytest.mark.parametrize("prefix", ["", "a{b", "a}", "a b", "a\n"])
def test_a_prefix_does_not_move_the_hash_tag(prefix: str) -> None:
    """With a brace in the prefix a run's three keys would be in three slots."""
    with pytest.raises(ValueError, match="no braces and no spaces, got"):
        Keys(prefix)
