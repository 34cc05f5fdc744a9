"""The options in a server's URL: which reach redis-py, which are left out, and which are refused."""

import pytest

from runrelay.outbox import Publisher
from runrelay.runlog import RunLog
from runrelay.runlog.topology import check_url
from runrelay.runlog.url_options import as_redis_url
from runrelay.settings import PublisherSettings


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("redis://one/0", "redis://one/0"),
        ("valkey://one:1/0", "redis://one:1/0"),
        ("valkeys://one", "rediss://one"),
        ("redis://one/0?decode_responses=true&protocol=3&client_name=film", "redis://one/0?client_name=film"),
        ("redis://one?timeout=5&max_connections=3&family=0&retry_on_error=x", "redis://one"),
        ("redis://one?socket_timeout=0.001&health_check_interval=1", "redis://one"),
        ("rediss://one?ssl_cert_reqs=CERT_NONE", "rediss://one?ssl_cert_reqs=none"),
        ("rediss://one?ssl_cert_reqs=required&ssl=true", "rediss://one?ssl_cert_reqs=required"),
        ("redis://one?ssl=false", "redis://one"),
        ("redis://user:hun?ter2@one", "redis://user:hun"),  # as redis-py reads it
    ],
)
def test_only_options_of_a_connection_reach_it(url: str, taken: str) -> None:
    """An option for another reader of the same URL changes what replies are made of, and every event is given up."""
    assert as_redis_url(url) == taken


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://one?ssl=true", "for TLS the URL begins with rediss://"),
        ("rediss://one?ssl=false", "for TLS the URL begins with rediss://"),
        ("rediss://one?ssl_cert_reqs=maybe", "ssl_cert_reqs must be none, optional or required"),
        ("redis://one?socket_type=tcp", "there is no option 'socket_type'"),
        ("redis://one?credential_provider=x", "there is no option 'credential_provider'"),
        ("redis://one?socket_read_size=much", "Invalid value for 'socket_read_size'"),
        ("rediss+sentinel://one/primary?ssl_cert_reqs=maybe", "ssl_cert_reqs must be none, optional or required"),
    ],
)
def test_what_cannot_work_is_refused_with_the_setting_s_name(url: str, why: str) -> None:
    """A URL with which no connection is ever made is found out after the first events, which wait for ever."""
    with pytest.raises(ValueError, match=r"^REDIS_URL: ") as caught:
        Publisher(PublisherSettings(redis_url=url))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://one/0",
        "valkeys://one/0?ssl_cert_reqs=CERT_REQUIRED",
        "valkey+sentinel://one,two/primary?decode_responses=true&timeout=3",
        "rediss+sentinel://one/primary?ssl_cert_reqs=CERT_NONE",
        "unix:///run/redis.sock?db=1&protocol=3",
    ],
)
def test_what_works_for_others_is_taken(url: str) -> None:
    """A URL that Celery or Valkey's own clients take, and that is refused here."""
    check_url(url)


@pytest.mark.parametrize("url", ["redis://one", "redis+sentinel://one/primary"])
def test_our_own_options_win(url: str) -> None:
    """A URL that sets the protocol or a time-out of commits."""
    separator = "&" if "?" in url else "?"
    runlog = RunLog(f"{url}{separator}protocol=3&socket_timeout=77&decode_responses=1", timeout_s=3.0)
    options = runlog._pool.connection_kwargs
    assert (options["protocol"], options["socket_timeout"], options.get("decode_responses")) == (2, 3.0, None)
