"""The relay's settings: read from the environment once, frozen, and passed to its parts."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ..fanout import ClientBounds
from ..runlog import MIN_LOG_BYTES, Keys, Retention
from .addresses import TrustedProxies

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Settings of a relay process. Each is `RUNRELAY_<NAME>` in the environment, but for REDIS_URL and PORT."""

    model_config = SettingsConfigDict(env_prefix="RUNRELAY_", frozen=True, populate_by_name=True, extra="ignore")

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("redis_url", "REDIS_URL"),
        description="Redis or Valkey.",
    )
    port: int = Field(default=8000, validation_alias=AliasChoices("port", "PORT"), ge=0, le=65535)
    host: str = "127.0.0.1"
    prefix: str = Field(default="autoshorts", min_length=1, pattern=r"^[^{}\s]+$", description="Prefix of all keys.")
    channel: str = Field(default="", description="Pub/Sub channel; `<prefix>:progress` by default.")

    max_connections: int = Field(default=10_000, ge=1, description="Clients of this process; above, 503.")
    max_connections_per_address: int = Field(default=1_000, ge=1, description="IPv6: of a /64.")
    max_connections_per_run: int = Field(default=10_000, ge=1)
    max_subscriptions: int = Field(default=1_000, ge=1, description="Runs on one multiplexed connection.")
    max_subscriptions_total: int = Field(
        default=100_000, ge=1, description="Subscriptions to runs in this process, over all connections."
    )
    max_joining: int = Field(
        default=100_000, ge=1, description="Joins that wait for their turn to read their run; above, 4429."
    )
    max_frame_bytes: int = Field(default=16 * 1024, ge=128, description="The largest frame that a client may send.")
    client_buffer_bytes: int = Field(
        default=1 << 20, ge=4096, description="Bytes that may wait for one client, initial_state aside."
    )
    max_half_open: int = Field(default=2_000, ge=0, description="Connections without a whole request; 0: no bound.")
    max_half_open_per_address: int = Field(default=500, ge=0, description="The same, of one address; 0: no bound.")
    max_url_bytes: int = Field(default=8_000, ge=0, description="The longest URL; 0: no bound.")
    max_header_bytes: int = Field(default=32 * 1024, ge=0, description="All headers of a request; 0: no bound.")
    max_headers: int = Field(default=100, ge=0, description="Headers of a request; 0: no bound.")
    max_body_bytes: int = Field(default=128 * 1024, ge=0, description="The largest body; 0: no bound.")
    headers_within_s: float = Field(default=10.0, ge=0, description="Seconds that headers may take; 0: no bound.")
    body_within_s: float = Field(default=30.0, ge=0, description="Seconds that a body may take; 0: no bound.")
    keep_alive_s: int = Field(default=5, ge=1, description="Seconds that an idle HTTP connection is kept.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        validation_alias=AliasChoices("trusted_proxies", "RUNRELAY_TRUSTED_PROXIES", "FORWARDED_ALLOW_IPS"),
        description="Proxies whose X-Forwarded-For is trusted: addresses and networks, separated by commas, or *.",
    )
    log_lines_per_s: float = Field(
        default=10.0, ge=0, description="Lines of one kind in the log; more are only counted; 0: no bound."
    )
    max_frames_per_s: float = Field(default=50.0, gt=0, description="Frames that a client may send, pings included.")
    max_client_bytes_per_s: float = Field(default=64 * 1024.0, gt=0, description="Bytes that a client may send.")
    client_burst_s: float = Field(
        default=40.0, gt=0, description="A client may send so many seconds' worth of frames and bytes at once."
    )
    heartbeat_s: float = Field(default=30.0, gt=0, description="Seconds between heartbeats of an SSE stream.")
    end_after_s: float = Field(
        default=3.0, ge=0, description="Seconds from a run's end to the close of its subscribers."
    )
    check_s: float = Field(default=5.0, gt=0, description="Seconds between checks of the topics against the log.")
    stalled_after_s: float = Field(
        default=30.0, gt=0, description="After so many seconds without a heartbeat a worker counts as gone."
    )
    pipeline_threads: int = Field(
        default=8, ge=1, le=256, description="Starts and cancellations that are sent at the same time."
    )
    pipeline_waiting: int = Field(
        default=64, ge=0, description="Starts and cancellations that may wait for a thread; above, 503."
    )
    pipeline_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds to send a start or a cancellation, its waiting included."
    )
    drain_s: float = Field(default=5.0, ge=0, description="Seconds that clients have to go at shutdown.")

    list_data: bool = Field(
        default=False, description="Show the runs' data in the list and its feed: up to 4 KiB more for each run."
    )
    log_lines: int = Field(default=10_000, ge=1, description="Lines of a run's log that are kept.")
    log_bytes: int = Field(default=2 << 20, ge=MIN_LOG_BYTES, description="Bytes of them that are kept.")
    run_ttl_s: int = Field(default=24 * 3600, ge=1)
    ended_run_ttl_s: int = Field(default=24 * 3600, ge=1)

    files: Path = Field(
        default=Path(".runrelay/files"), description="Folder of the runs' files, shared with the workers."
    )
    allowed_origins: tuple[str, ...] = Field(default=(), description="Foreign origins whose pages may connect, or `*`.")
    jwt_secret: SecretStr | None = Field(
        default=None, min_length=1, description="With it, every request needs a token (HS256)."
    )
    jwt_audience: str | None = None
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path under which a proxy serves the relay, as /relay.",
    )
    celery_app: str = Field(
        default="", description="The Celery application whose tasks a cancelled run's work is stopped by: module:name."
    )
    dashboard: bool = Field(default=True, description="Serve the dashboard at /.")

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: object) -> object:
        """A misspelt keyword would silently change nothing: `jwt_secert` would leave a relay open."""
        known = {*cls.model_fields, "REDIS_URL", "PORT"}
        for name in given if isinstance(given, dict) else ():
            if name.lower() not in known and name not in known:
                nearest = get_close_matches(name.lower(), cls.model_fields, n=1)
                meant = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(cls.model_fields)}"
                raise ValueError(f"there is no setting {name!r}: {meant}")
        return given

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """As a browser sends them: `https://app.example`, without a path."""
        for origin in given:
            parts = urlsplit(origin)
            if origin != "*" and (not (parts.scheme and parts.netloc) or parts.path.strip("/") or parts.query):
                raise ValueError(f"an origin is like https://app.example, or *, got {origin!r}")
        return tuple(origin.rstrip("/").lower() for origin in given)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        return tuple(name.strip() for name in given.split(",") if name.strip()) if isinstance(given, str) else given

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        TrustedProxies(given)
        return given

    def keys(self) -> Keys:
        """Names of keys and channels."""
        return Keys(self.prefix, self.channel or f"{self.prefix}:progress")

    def client_bounds(self) -> ClientBounds:
        """What one client may cost. The burst lets a client subscribe to all runs that it may, twice."""
        return ClientBounds(
            buffer_bytes=self.client_buffer_bytes,
            frame_bytes=self.max_frame_bytes,
            frames_per_s=self.max_frames_per_s,
            bytes_per_s=self.max_client_bytes_per_s,
            burst_s=self.client_burst_s,
            burst_frames=2 * self.max_subscriptions,
        )

    def retention(self) -> Retention:
        """How much of a run is kept, and how long."""
        return Retention(self.run_ttl_s, self.ended_run_ttl_s, log_lines=self.log_lines, log_bytes=self.log_bytes)
