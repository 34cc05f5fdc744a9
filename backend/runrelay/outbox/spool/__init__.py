"""The spool: what does not fit in memory while Redis is away waits on disk."""

from .spool import Spool

__all__ = ["Spool"]
