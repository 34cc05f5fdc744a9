"""codes.py and its mirror in the front end are the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from runrelay.codes import MESSAGE_TYPES, CloseCode

ROOT = Path(__file__).parents[3]
MIRROR = (ROOT / "frontend" / "src" / "core" / "codes.ts").read_text()


def _block(opening: str) -> str:
    """The text between an opening and its `as const`."""
    found = re.search(re.escape(opening) + r"(.*?)[}\]] as const;", MIRROR, re.DOTALL)
    assert found, f"codes.ts has no {opening}"
    return found[1]


def test_close_codes_are_mirrored() -> None:
    """A client that does not know a code reconnects for ever, or gives up for nothing."""
    mirrored = {name: int(code) for name, code in re.findall(r"(\w+): (\d+)", _block("export const CloseCode = {"))}
    assert mirrored == {code.name: int(code) for code in CloseCode}


def test_message_types_are_mirrored() -> None:
    """The client ignores frames of an unknown type."""
    assert re.findall(r'"(\w+)"', _block("export const MESSAGE_TYPES = [")) == list(MESSAGE_TYPES)


def test_every_message_type_in_use_is_in_the_list() -> None:
    """One side could send a frame that the other does not know."""
    said = set()
    for folder in ("fanout", "api", "progress"):
        for path in (ROOT / "backend" / "runrelay" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == "type" and isinstance(value, ast.Constant):
                            said.add(value.value)
    said -= {"about:blank", "object", "string", "integer"}  # a problem document's, a JSON schema's
    said = {kind for kind in said if str(kind).partition(".")[0] not in ("http", "websocket", "lifespan")}  # ASGI's own
    assert said >= {"initial_state", "progress", "resumed", "upstream", "end", "pong", "error"}
    assert said <= set(MESSAGE_TYPES)
