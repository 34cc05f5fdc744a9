"""What is public is what `__all__` says: here it is held, so that it changes only on purpose."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

import runrelay

PUBLIC = {
    "runrelay": [
        "PublisherSettings",
        "RunLogHandler",
        "configure",
        "flush",
        "publish_progress",
        "run_progress",
        "track",
    ],
    "runrelay.celery": [
        "cancel",
        "canvas",
        "install",
        "run_headers",
        "send",
        "step",
        "step_names",
        "task_id",
        "task_ids",
    ],
    "runrelay.publisher.tqdm": ["tqdm", "trange"],
    "runrelay.testing": ["CapturedEvent", "CapturedProgress", "capture_progress"],
}


def _modules() -> Iterator[str]:
    for package in ("progress", "publisher", "runlog"):
        yield f"runrelay.{package}"
        module = importlib.import_module(f"runrelay.{package}")
        for info in pkgutil.iter_modules(module.__path__, f"{module.__name__}."):
            yield info.name


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_the_public_names_are_these(name: str) -> None:
    """A public name that goes, or comes, by accident."""
    module = importlib.import_module(name)
    assert sorted(module.__all__) == PUBLIC[name]


@pytest.mark.parametrize("name", [*sorted(PUBLIC), *_modules()])
def test_what_is_listed_is_there(name: str) -> None:
    """A module that does not say what is public, or lists what it does not have."""
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for listed in module.__all__:
        assert getattr(module, listed) is not None


def test_the_package_has_no_other_names() -> None:
    """A lazy import that hides a typing error as something else than an AttributeError."""
    with pytest.raises(AttributeError, match="no attribute 'publish_progres'"):
        _ = runrelay.publish_progres
    assert dir(runrelay) == sorted(runrelay.__all__)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("runrelay.celery", "celery", "celery"), ("runrelay.fastapi", "fastapi", "server")],
)
def test_without_its_extra_a_module_says_which_one(module: str, missing: str, extra: str) -> None:
    """`No module named 'celery'` does not tell what to install."""
    program = f"import sys; sys.modules[{missing!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"{module} needs the extra '{extra}' ({missing} is missing): pip install 'runrelay[{extra}]'")
