"""Files that runs make, in a folder that workers and relays share."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from .progress import check_run_id

__all__ = ["check_file_name", "delete_files", "file_of", "run_folder"]

_MAX_NAME_BYTES = 255
_READABLE_BYTES = 120


def run_folder(root: Path, run_id: str) -> Path:
    """The folder of a run's files (not created): readable, and different for different ids on every file system.

    A run id may be longer than a file name, and some file systems fold case or Unicode forms. So the id is cut, and a
    digest of its bytes follows.

    Raises:
        ValueError: `run_id` is not one.
    """
    raw = check_run_id(run_id).encode()
    readable = raw[:_READABLE_BYTES].decode("utf-8", "ignore").lstrip(".") or "run"
    return root / f"{readable}-{hashlib.sha256(raw).hexdigest()[:12]}"


def check_file_name(name: str) -> str:
    """Return `name` if it can be a file of a run: one path segment, not hidden, at most 255 bytes.

    Raises:
        ValueError: it is not.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"a file name is one path segment that does not begin with a dot, got {name!r}")
    if len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
        raise ValueError(f"a file name has at most {_MAX_NAME_BYTES} bytes, got {len(name.encode())}")
    return name


def file_of(root: Path, run_id: str, name: str) -> Path | None:
    """The path of a run's file, or None if there is no such file. A link that leads out of the folder does not count.

    Raises:
        ValueError: `name` or `run_id` is not one.
    """
    folder = run_folder(root, run_id).resolve()
    path = (folder / check_file_name(name)).resolve()
    return path if path.parent == folder and path.is_file() else None


def delete_files(root: Path, run_id: str) -> None:
    """Delete a run's folder with everything in it. Files that cannot be deleted stay."""
    shutil.rmtree(run_folder(root, run_id), ignore_errors=True)
