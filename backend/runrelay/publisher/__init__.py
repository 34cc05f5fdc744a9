"""The worker side: publish_progress and what is built on it. Needs redis and orjson, nothing else."""

from .publishing import Publisher, configure, flush, publish_progress

__all__ = ["Publisher", "configure", "flush", "publish_progress"]
