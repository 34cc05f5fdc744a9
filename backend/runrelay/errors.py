"""Every error that runrelay raises on purpose, as one tree.

Wrong arguments of the public calls are plain `ValueError` and `TypeError`; what is here are the
situations that a caller may want to tell apart.
"""

from __future__ import annotations

from .codes import CloseCode

__all__ = [
    "CannotBeSent",
    "CommitRefused",
    "ListenerDown",
    "NotARun",
    "Refusal",
    "RunExists",
    "RunFailed",
    "RunNotEnded",
    "RunNotFound",
    "RunlogError",
    "RunlogUnavailable",
    "RunrelayError",
]


class RunrelayError(Exception):
    """Base of all errors of this package."""


class RunlogError(RunrelayError):
    """The run log answered something that it should not have."""


class RunlogUnavailable(RunlogError):
    """Redis cannot be reached, or cannot write (loading, read only, out of memory)."""


class CannotBeSent(RunlogError):
    """Events that have no form in which they could be sent. Nothing was sent."""


class NotARun(RunlogError):
    """What is stored under a run's name is no run: somebody else's key, or a damaged one.

    Only who asks for this run gets it, and whoever asks again gets it again.
    """

    def __init__(self, run_id: str, why: object) -> None:
        super().__init__(f"what is stored as run {run_id!r} is no run: {why}")
        self.run_id = run_id


class RunFailed(RunrelayError):
    """Something that nobody expected happened to a run in this relay. A later try may have more luck."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} cannot be followed here for now: an unexpected error; the relay's log has it")
        self.run_id = run_id


class Refusal(RunrelayError):
    """A client is refused what it asks for.

    A WebSocket gets an `error` frame (`fanout.error_batch`) and is closed with `code`; an HTTP request gets the status
    that belongs to the code (api/problems.py).

    Args:
        code: why, as a close code.
        reason: the message for the client: what was wrong, the value and the limit.
        retry_after_s: seconds after which another try may be accepted; None if it would be refused again.
    """

    def __init__(self, code: CloseCode, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s


class ListenerDown(RunrelayError):
    """The relay's listener has ended; the process must be restarted."""


class CommitRefused(RunlogError):
    """A condition that the caller put on its commit did not hold.

    `status` and `attempt` are the run's at that moment.
    """

    def __init__(self, run_id: str, status: str, attempt: int, why: str) -> None:
        super().__init__(f"run {run_id!r} is {status} (attempt {attempt}): {why}")
        self.run_id = run_id
        self.status = status
        self.attempt = attempt
        self.why = why


class RunExists(CommitRefused):
    """A run of this id is already there."""


class RunNotEnded(CommitRefused):
    """The run has not ended yet."""


class RunNotFound(RunrelayError):
    """Nobody has heard of this run, or its log has expired."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"no run {run_id!r}: it was never published to, has expired or was deleted")
        self.run_id = run_id


def without_extra(module: str, extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """What to raise where `module` cannot be imported: the name of the extra to install, if it is that."""
    if error.name is None or error.name.startswith("runrelay"):
        return error
    text = f"{module} needs the extra '{extra}' ({error.name} is missing): pip install 'runrelay[{extra}]'"
    return ModuleNotFoundError(text, name=error.name)
