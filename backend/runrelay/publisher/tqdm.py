"""A progress bar with tqdm's surface that publishes instead of drawing: `from runrelay.publisher.tqdm import tqdm`.

tqdm itself (https://tqdm.github.io/docs/tqdm/) is not needed. What only concerns the drawing is accepted and ignored.
"""

from __future__ import annotations

import operator
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..progress import check_run_id
from .publishing import publish_progress
from .scopes import current_run_id
from .spans import current_span
from .tracking import Percent

__all__ = ["tqdm", "trange"]

T = TypeVar("T")
_UNKNOWN_TOTAL_EVERY_S = 1.0


class tqdm(Generic[T]):
    """A bar whose hundredths are a run's progress.

    Args:
        iterable, desc, total, unit, initial, disable: as tqdm's.
        run_id: the run; inside a task or `run_progress`, by default, its run.
        span: from where to where of the run's progress the bar goes.
        state: the pipeline's own label.
        drawing: whatever else tqdm takes.

    Raises:
        TypeError, ValueError: an argument is wrong, or there is no run to publish to.
    """

    _lock: Any
    """Not there until somebody asks; those tools delete it when they are done."""

    def __init__(
        self,
        iterable: Iterable[T] | None = None,
        desc: str | None = None,
        total: float | None = None,
        *,
        run_id: str | None = None,
        span: tuple[float, float] = (0.0, 1.0),
        state: str | None = None,
        unit: str = "it",
        initial: float = 0,
        disable: bool | None = False,
        **drawing: Any,
    ) -> None:
        del drawing
        found = current_run_id() if run_id is None else check_run_id(run_id)
        if found is None and disable:
            found = ""  # nothing is published
        if found is None:
            raise ValueError("run_id must be given outside of a task: there is no current run")
        if total is None and iterable is not None:
            total = operator.length_hint(iterable, 0) or None
        self.iterable = iterable
        self.run_id = found
        self.n = initial
        self.initial = initial
        self.desc = desc or ""
        self.unit = unit
        self.postfix = ""
        self.disable = bool(disable)
        self._total = total
        self._state = state
        self._span = current_span(found).span(*span)
        self._percent = Percent(total)
        self._told = ""
        self._told_s = float("-inf")
        self._open = True
        self.refresh()

    @property
    def total(self) -> float | None:
        """How many there are, or None."""
        return self._total

    @total.setter
    def total(self, total: float | None) -> None:
        self._total = total
        self._percent.total = total

    def update(self, n: float | None = 1) -> bool:
        """Count `n` more. Returns whether that was published."""
        self.n += 1 if n is None else n
        return self._tell(self._percent.passed(self.n))

    def refresh(self, *args: Any, **drawing: Any) -> bool:
        """Publish where the bar is, and what it says if that is new."""
        del args, drawing
        share = None if not self._total else min(1.0, max(0.0, self.n / self._total))
        return self._tell(share, even_so=True)

    def _tell(self, share: float | None, *, even_so: bool = False) -> bool:
        if self.disable or not self._open:
            return False
        data: Mapping[str, Any] | None = None
        if share is None and not self._total:
            now_s = time.monotonic()
            if now_s - self._told_s < _UNKNOWN_TOTAL_EVERY_S and not even_so:
                return False
            self._told_s = now_s
            data = {"n": self.n, "unit": self.unit}
        elif share is None:
            return False
        words = ", ".join(part for part in (self.desc.removesuffix(": "), self.postfix) if part)
        log = words if words and words != self._told else None
        self._told = words
        publish_progress(
            self.run_id,
            self._state,
            None if share is None else self._span.at(share),
            log,
            step=self._span.step_name,
            data=data,
        )
        return True

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """Say something else beside the bar; it becomes a line of the log when the bar is next published."""
        self.desc = desc or ""
        if refresh and desc and not self._told:
            self.refresh()

    def set_description_str(self, desc: str | None = None, refresh: bool = True) -> None:
        """As `set_description`."""
        self.set_description(desc, refresh)

    def set_postfix(self, ordered_dict: Mapping[str, Any] | None = None, refresh: bool = True, **values: Any) -> None:
        """Values to show beside the bar."""
        pairs = {**(ordered_dict or {}), **values}
        self.set_postfix_str(", ".join(f"{name}={value}" for name, value in pairs.items()), refresh)

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Text to show beside the bar."""
        del refresh
        self.postfix = s

    def reset(self, total: float | None = None) -> None:
        """Begin again; a run's own progress does not go down for it."""
        self.n = 0
        self.total = self._total if total is None else total
        self._percent = Percent(self._total)
        self._open = True
        self.refresh()

    def close(self) -> None:
        """Publish where the bar has come to; nothing is published any more."""
        self.refresh()
        self._open = False

    def clear(self, *args: Any, **drawing: Any) -> None:
        """Nothing is drawn, so nothing is cleared."""

    display = unpause = clear

    @classmethod
    def get_lock(cls) -> Any:
        """The lock that tqdm's own tools (`tqdm.contrib.concurrent.thread_map`, say) hold while they draw."""
        if getattr(cls, "_lock", None) is None:
            cls.set_lock(threading.RLock())
        return cls._lock

    @classmethod
    def set_lock(cls, lock: Any) -> None:
        """Use another lock."""
        cls._lock = lock

    @staticmethod
    def write(s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:
        """Print a line, as tqdm does."""
        del nolock
        (file or sys.stdout).write(f"{s}{end}")

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("this bar has nothing to loop over: give it an iterable")
        try:
            for item in self.iterable:
                yield item
                self.update(1)
        finally:
            self.close()

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("the length of this bar is not known: give it a total")
        return int(self._total)

    def __bool__(self) -> bool:
        return self._total is None or self._total > 0

    def __enter__(self) -> tqdm[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def trange(*args: int, **options: Any) -> tqdm[int]:
    """`tqdm(range(*args), **options)`."""
    return tqdm(range(*args), **options)
