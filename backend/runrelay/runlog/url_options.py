"""The options in the URL of a Redis: which are redis-py's, which are not ours to take, and which cannot work. Pure.

The same `REDIS_URL` is often read by other libraries, too, and has their options. An option of the URL never changes
how this package speaks to Redis: the protocol, what replies are made of, time-outs and retries are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

__all__ = ["IGNORED", "PASSED", "as_redis_url", "usable_options"]

PASSED: Final = frozenset(
    {
        "client_name", "db", "password", "socket_keepalive", "socket_read_size", "username",
        "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname",
        "ssl_ciphers", "ssl_exclude_verify_flags", "ssl_include_verify_flags", "ssl_keyfile", "ssl_min_version",
        "ssl_password", "ssl_validate_ocsp", "ssl_validate_ocsp_stapled",
    }
)  # fmt: skip
"""What redis-py's connections take from a URL."""
IGNORED: Final = frozenset(
    {
        # our own: another value would change what a reply is, how long a call takes, or whether it is sent twice
        "decode_responses", "encoding", "encoding_errors", "health_check_interval", "legacy_responses", "protocol",
        "retry", "retry_on_error", "retry_on_timeout", "socket_connect_timeout", "socket_timeout",
        # of pools, which are not used here, and of other clients: kombu, Django, ioredis
        "lib_name", "lib_version", "max_connections", "timeout", "virtual_host", "visibility_timeout", "family",
    }
)  # fmt: skip
"""What is left out of a URL without a word: it is right for somebody else who reads the same URL."""
_SCHEMES: Final = {"valkey": "redis", "valkeys": "rediss"}
_CERT_REQS: Final = {
    "none": "none", "optional": "optional", "required": "required",
    "cert_none": "none", "cert_optional": "optional", "cert_required": "required",
}  # fmt: skip
"""Celery's spellings are the names in Python's `ssl`; redis-py's are the short ones."""
_FALSE: Final = ("0", "f", "false", "n", "no", "")


def usable_options(given: Mapping[str, list[str]], *, tls: bool) -> dict[str, str]:
    """The options that redis-py gets, by name, each with its first value.

    Args:
        given: as `parse_qs` returns them.
        tls: whether the URL's scheme is one of TLS.

    Raises:
        ValueError: there is no such option, or it cannot work with this scheme.
    """
    options: dict[str, str] = {}
    for name, (value, *_) in given.items():
        if name == "ssl":
            if (value.lower() not in _FALSE) != tls:
                raise ValueError(f"ssl={value} does not fit the scheme: for TLS the URL begins with rediss://")
        elif name == "ssl_cert_reqs":
            if value.lower() not in _CERT_REQS:
                raise ValueError("ssl_cert_reqs must be none, optional or required")
            options[name] = _CERT_REQS[value.lower()]
        elif name in PASSED:
            options[name] = value
        elif name not in IGNORED:
            raise ValueError(f"there is no option {name!r}")
    return options


def as_redis_url(url: str) -> str:
    """The URL of one server as redis-py takes it: its schemes (not `valkey://`), and the options that it may have.

    Raises:
        ValueError: an option cannot work.
    """
    scheme, colon, rest = url.partition("://")
    scheme = _SCHEMES.get(scheme, scheme)
    address, question, _ = rest.partition("?")
    if not question:
        return f"{scheme}{colon}{rest}"
    options = usable_options(parse_qs(urlsplit(url).query), tls=scheme == "rediss")
    return f"{scheme}{colon}{address}?{urlencode(options)}" if options else f"{scheme}{colon}{address}"
