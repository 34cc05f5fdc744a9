"""tqdm's progress bar as a run's progress.

Use `from runrelay.publisher.tqdm import tqdm` in place of `from tqdm.auto import tqdm`. Inside a run the bar is
published and not drawn; outside of any run it is drawn as usual. It is a subclass of `tqdm.auto.tqdm`
(https://tqdm.github.io/docs/tqdm/), so all of tqdm's arguments, methods and tools work. As in tqdm's own
`tqdm.contrib.discord`, only `display` and `close` differ: tqdm calls them at most every `mininterval` (0.1 s).
"""

from __future__ import annotations

import time
from typing import Any, Final

from ..errors import without_extra
from ..outbox.scopes import current_run_id
from ..progress import check_run_id
from .publish import publish_progress
from .spans import current_span
from .track import Percent

try:
    from tqdm.auto import tqdm as auto_tqdm
except ModuleNotFoundError as error:
    raise without_extra("runrelay.publisher.tqdm", "tqdm", error) from None

__all__ = ["tqdm", "trange"]

_UNKNOWN_TOTAL_EVERY_S: Final = 1.0


class _Nowhere:
    """A file that discards what tqdm writes while the bar is published."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


class tqdm(auto_tqdm):  # type: ignore[misc]  # tqdm ships no types
    """A progress bar that is published as a run's progress.

    Args:
        run_id: the run; by default that of the task or `run_progress` block that the code is in.
        span: the part of the run's progress that the bar covers, from and to.
        state: the pipeline's own label.
        args, kwargs: tqdm's own. A new description or postfix becomes a log line when the bar is next published.

    Raises:
        TypeError, ValueError: the run id or the span is wrong.
        Exception: tqdm's own.
    """

    def __init__(
        self,
        *args: Any,
        run_id: str | None = None,
        span: tuple[float, float] = (0.0, 1.0),
        state: str | None = None,
        **kwargs: Any,
    ) -> None:
        found = current_run_id() if run_id is None else check_run_id(run_id)
        self.run_id = found
        self._span = None if found is None else current_span(found).span(*span)
        self._state = state
        self._percent = Percent(None)
        self._published = ""
        self._published_s = float("-inf")
        if found is not None:
            # tqdm's `disable=None` means: disable if the file is no terminal
            kwargs |= {"file": _Nowhere(), "disable": bool(kwargs.get("disable"))}
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None, **kwargs: Any) -> bool:
        """Publish the bar instead of drawing it; see tqdm."""
        if self._span is None:
            return bool(super().display(msg, pos, **kwargs))
        total = self.total or None
        text = ", ".join(part for part in (self.desc.removesuffix(": "), self.postfix or "") if part)
        # The first description is published at once. Later ones wait: a description per item would be a line per item.
        due_s = self.mininterval if total else max(self.mininterval, _UNKNOWN_TOTAL_EVERY_S)
        if not self.disable and time.monotonic() - self._published_s < due_s and not (text and not self._published):
            return True
        self._percent.total = total
        share = self._percent.passed(self.n)
        if share is None and total and text == self._published:
            return True
        self._published_s = time.monotonic()
        publish_progress(
            self._span.run_id,
            self._state,
            None if share is None else self._span.at(share),
            text if text and text != self._published else None,
            step=self._span.step_name,
            data=None if total else {"n": self.n, "unit": self.unit},
        )
        self._published = text
        return True

    def close(self) -> None:
        """Publish the bar's last state, or draw it a last time; see tqdm."""
        is_open = not getattr(self, "disable", True)
        super().close()  # with `leave=False` it clears the bar, and does not call `display`
        if is_open and self._span is not None:
            self.display()


def trange(*args: int, **kwargs: Any) -> tqdm:
    """`tqdm(range(*args), **kwargs)`."""
    return tqdm(range(*args), **kwargs)
