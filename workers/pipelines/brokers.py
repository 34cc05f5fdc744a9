"""Translates the URL of a Redis into Celery's form. The two differ for sentinels."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import quote

from redis.backoff import NoBackoff
from redis.retry import Retry

from runrelay.runlog.server_url import is_sentinel_url, parse_sentinel_url

__all__ = ["CeleryUrl", "celery_url"]

_SENTINEL_TIMEOUT_S: Final = 1.0


class CeleryUrl(NamedTuple):
    """A server's URL and options in Celery's form, for the broker or the result backend (`result_backend_…`)."""

    url: str
    transport_options: dict[str, Any]
    use_ssl: dict[str, Any] | None
    """The TLS options, by redis-py's names. None: no TLS, or the URL has the options."""


def celery_url(url: str, setting: str) -> CeleryUrl:
    """Translate `redis+sentinel://…`; any other URL stays as it is.

    Args:
        setting: name of the variable that the URL comes from, for the error.

    Raises:
        ValueError: a URL of sentinels is malformed; the message names the variable and the right form.
    """
    if not is_sentinel_url(url):
        return CeleryUrl(url, {}, None)
    given = parse_sentinel_url(url, setting)
    login = ""
    if given.username or given.password:
        login = f"{quote(given.username or '', safe='')}:{quote(given.password or '', safe='')}@"
    hosts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in given.sentinels]
    tls = {name: value for name, value in given.options.items() if name.startswith("ssl_")}
    sentinel_options: dict[str, Any] = {
        "socket_timeout": _SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": _SENTINEL_TIMEOUT_S,
        # By default redis-py retries a sentinel that is away for seconds before it asks the next one.
        "retry": Retry(NoBackoff(), 0),
    }
    if given.sentinel_username:
        sentinel_options["username"] = given.sentinel_username
    if given.sentinel_password:
        sentinel_options["password"] = given.sentinel_password
    if given.tls:
        sentinel_options.update(ssl=True, **tls)
    return CeleryUrl(
        ";".join(f"sentinel://{login}{host}/{given.db}" for host in hosts),
        {"master_name": given.master_name, "sentinel_kwargs": sentinel_options},
        {"ssl_cert_reqs": "required", **tls} if given.tls else None,
    )
