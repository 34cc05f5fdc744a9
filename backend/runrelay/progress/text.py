"""Checks of text: control characters, and a length in bytes."""

from __future__ import annotations

__all__ = ["check_label", "check_text", "control_char", "cut_text"]


def control_char(text: str) -> str | None:
    """The first C0 or C1 control character or lone surrogate of `text`, if it has one."""
    if text.isprintable():
        return None
    for char in text:
        code = ord(char)
        if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
            return char
    return None


def check_text(name: str, value: object) -> str:
    """Return `value` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {type(value).__name__}")
    return value


def check_label(name: str, value: object, max_chars: int) -> str:
    """Return `value` if it is a string of 1 to `max_chars` characters without control characters."""
    text = check_text(name, value)
    if not 1 <= len(text) <= max_chars:
        raise ValueError(f"{name} must have 1 to {max_chars} characters, got {len(text)}")
    if (char := control_char(text)) is not None:
        raise ValueError(f"{name} must not contain the control character {char!r}, got {text!r}")
    return text


def cut_text(text: str, limit_bytes: int) -> str:
    """Return `text` with at most `limit_bytes` of UTF-8, with the marker that says how much was cut.

    A lone surrogate, which has no UTF-8 (it comes from undecodable file names), becomes `?`.
    """
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    head = raw[: limit_bytes - len(_marker(len(raw)).encode())].decode("utf-8", "ignore")
    return head + _marker(len(raw) - len(head.encode()))


def _marker(cut_bytes: int) -> str:
    return f" … {cut_bytes} bytes cut"
