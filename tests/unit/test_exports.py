"""The public names, `__all__` of each module: they change only on purpose."""

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
        "current_run",
        "flush",
        "publish_progress",
        "run_progress",
        "track",
    ],
    "runrelay.celery": [
        "asend",
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
    for package in ("progress", "publisher", "outbox", "runlog"):
        yield f"runrelay.{package}"
        module = importlib.import_module(f"runrelay.{package}")
        for info in pkgutil.iter_modules(module.__path__, f"{module.__name__}."):
            yield info.name


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_the_public_names_are_these(name: str) -> None:
    """A public name that is removed or added by accident."""
    module = importlib.import_module(name)
    assert sorted(module.__all__) == PUBLIC[name]


@pytest.mark.parametrize("name", [*sorted(PUBLIC), *_modules()])
def test_every_listed_name_exists(name: str) -> None:
    """A module without `__all__`, or with a name in it that does not exist."""
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
def test_a_module_without_its_extra_names_it(module: str, missing: str, extra: str) -> None:
    """`No module named 'celery'`, which does not say what to install."""
    program = f"import sys; sys.modules[{missing!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"{module} needs the extra '{extra}' ({missing} is missing): pip install 'runrelay[{extra}]'")


@pytest.mark.parametrize(
    ("package", "name"),
    [("runrelay.publisher", "track"), ("runrelay.publisher", "run_progress"), ("runrelay.celery", "canvas")],
)
def test_a_function_named_as_its_module_does_not_depend_on_the_import_order(package: str, name: str) -> None:
    """`from runrelay.publisher import track` that gives the module, because the module was imported first."""
    program = (
        f"import {package}.{name}, importlib; importlib.import_module('{package}.{name}'); "
        f"from {package} import {name}; assert callable({name}), {name}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
