"""URLs of servers: sentinels' URLs, which URLs are refused, and that no password is shown."""

import pytest

from runrelay.outbox import Publisher
from runrelay.runlog.server_url import SENTINEL_FORM, SentinelUrl, parse_sentinel_url, without_password
from runrelay.runlog.topology import check_url
from runrelay.settings import PublisherSettings


def test_a_whole_url_is_read() -> None:
    """A part of the URL must not be lost, or taken for another part."""
    url = (
        "rediss+sentinel://us%40er:p%3Ass@one:1,two,[::1]:3/my%20primary/5"
        "?sentinel_username=su&sentinel_password=s%26p&ssl_ca_certs=/ca.pem&socket_keepalive=yes"
    )
    assert parse_sentinel_url(url) == SentinelUrl(
        sentinels=(("one", 1), ("two", 26379), ("::1", 3)),
        master_name="my primary",
        db=5,
        username="us@er",
        password="p:ss",
        tls=True,
        sentinel_username="su",
        sentinel_password="s&p",
        options={"ssl_ca_certs": "/ca.pem", "socket_keepalive": True},
    )


def test_little_is_needed() -> None:
    """A short URL must be enough: the other parts have defaults."""
    assert parse_sentinel_url("redis+sentinel://one/primary") == SentinelUrl((("one", 26379),), "primary")
    assert parse_sentinel_url("redis+sentinel://:word@one/primary/").password == "word"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://one,two", "the path must name the primary"),
        ("redis+sentinel://one/?db=1", "the path must name the primary"),
        ("redis+sentinel:///primary", "each sentinel must be host or host:port"),
        ("redis+sentinel://one,,two/primary", "each sentinel must be host or host:port"),
        ("redis+sentinel://one:65536/primary", "a port within 1..65535, found 'one:65536'"),
        ("redis+sentinel://one:x/primary", "found 'one:x'"),
        ("redis+sentinel://one/primary/first", "the database must be 0 or more"),
        ("redis+sentinel://one/primary?sentinel_pasword=x", "there is no option sentinel_pasword"),
        ("redis+sentinel://one/primary?socket_read_size=soon", "socket_read_size"),
        ("redis+sentinel://user:hunter2@one/?sentinel_password=hunter2", "…@one/?sentinel_password=…'"),
    ],
)
def test_what_is_malformed_is_refused_with_the_right_form(url: str, why: str) -> None:
    """The error must tell which setting is wrong, why, and the right form, without a password."""
    with pytest.raises(ValueError, match=r"^CELERY_BROKER_URL: ") as caught:
        parse_sentinel_url(url, "CELERY_BROKER_URL")
    assert why in str(caught.value)
    assert str(caught.value).endswith(f"its form is {SENTINEL_FORM}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sentinel://one/primary", "redis+sentinel://"),
        ("http://one", "redis+sentinel://"),
        ("redis://one:port", "Port could not be cast"),
        ("redis://one/?no_such_option=1", "there is no option 'no_such_option'"),
        ("redis+sentinel://one/primary?no_such_option=1", "there is no option 'no_such_option'"),
    ],
)
def test_no_publisher_begins_with_a_url_that_leads_nowhere(url: str, why: str) -> None:
    """A wrong URL must be reported at once, not again and again in the flusher's thread."""
    with pytest.raises(ValueError, match=r"^REDIS_URL: ") as caught:
        Publisher(PublisherSettings(redis_url=url))
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://one/0",
        "rediss://one:6380/0?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
        "redis+sentinel://one,two/primary/1",
        "rediss+sentinel://one/primary?ssl_ca_certs=/ca.pem",
    ],
)
def test_good_urls_are_good(url: str) -> None:
    """All ways to connect must be accepted."""
    check_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://one:1/0", "redis://one:1/0"),
        ("redis://user:hunter2@one:1/0", "redis://…@one:1/0"),
        ("redis://user:hun@ter2@one:1/0", "redis://…@one:1/0"),
        ("redis://user:hunter2?x@one:1/0", "redis://…@one:1/0"),
        ("redis://user:hun/ter2@one", "redis://…@one"),
        ("redis://one/0?password=hunter2&db=1", "redis://one/0?password=…&db=1"),
        ("redis+sentinel://one/p?sentinel_password=hun@ter2", "redis+sentinel://one/p?sentinel_password=…"),
        ("redis+sentinel://u:hunter2@one/p?a=b&sentinel_password=hun@ter2", "redis+sentinel://…@one/p?a=b&sentinel_password=…"),
    ],
)  # fmt: skip
def test_no_password_is_shown(url: str, shown: str) -> None:
    """No password, nor a part of it, may be in an error or a terminal."""
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url", ["redis://host/abc", "redis://:word@host/1x", "rediss://host/0?db=two", "redis://host/-1"]
)
def test_a_database_that_is_no_number_is_refused(url: str) -> None:
    """redis-py would silently take database 0, and the events would go to another application's."""
    with pytest.raises(ValueError, match="the database must be a number") as refused:
        check_url(url)
    assert "word" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host/", "redis://host/15", "redis://host?db=3", "unix:///run/redis.sock?db=2"]
)
def test_a_database_that_is_a_number_is_taken(url: str) -> None:
    """A URL that is right must not be refused."""
    check_url(url)
