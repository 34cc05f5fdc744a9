"""The negative control of every test that keeps a story: the client's own check can fail."""

from __future__ import annotations

import pytest

from tests.support.clients import Story


def test_the_story_would_notice() -> None:
    """A check that lets a hole, a double or a foreign epoch pass would make the other tests worthless."""

    def told(*frames: tuple[str, str]) -> Story:
        story = Story()
        for kind, cursor in frames:
            story.add({"type": kind, "id": cursor, "seq": int(cursor[13:]), "recovered": not story.frames})
        return story

    assert told(("initial_state", "k3x9m2p7q1za-3"), ("progress", "k3x9m2p7q1za-4")).seqs == [4]
    for wrong in ("k3x9m2p7q1za-3", "k3x9m2p7q1za-5", "zzzzzzzzzzzz-4"):
        with pytest.raises(AssertionError):
            told(("initial_state", "k3x9m2p7q1za-3"), ("progress", wrong))
