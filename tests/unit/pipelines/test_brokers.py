"""Celery's settings from the usual variables, sentinels among them."""

from typing import Any

import kombu
import pytest

from pipelines.brokers import CeleryUrl
from pipelines.settings import WorkerSettings


def test_a_plain_url_stays_as_it_is() -> None:
    """A broker other than Redis, or a Redis alone, that is changed on its way to Celery."""
    found = WorkerSettings.from_env({"CELERY_BROKER_URL": "amqp://rabbit//", "REDIS_URL": "redis://one/2"})
    assert found.broker == CeleryUrl("amqp://rabbit//", {}, None)
    assert found.results == CeleryUrl("redis://one/2", {}, None)


def test_sentinels_are_broker_and_result_backend() -> None:
    """A worker that can publish through sentinels, but gets no tasks through them."""
    found = WorkerSettings.from_env(
        {"REDIS_URL": "redis+sentinel://user:p%40ss@one,[::1]:2/primary/3?sentinel_password=word"}
    )
    assert found.broker == found.results
    url, options, use_ssl = found.broker
    assert url == "sentinel://user:p%40ss@one:26379/3;sentinel://user:p%40ss@[::1]:2/3"
    assert options["master_name"] == "primary"
    assert options["sentinel_kwargs"]["password"] == "word"
    assert use_ssl is None
    connecting: Any = kombu
    with connecting.Connection(url, transport_options=options) as connection:
        assert connection.password == "p@ss"
        assert connection.virtual_host == "3"


def test_tls_holds_for_the_sentinels_too() -> None:
    """A password that goes to a sentinel in the clear."""
    found = WorkerSettings.from_env({"CELERY_BROKER_URL": "rediss+sentinel://one/primary?ssl_ca_certs=/ca.pem"})
    assert found.broker.use_ssl == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
    sentinel_options = found.broker.transport_options["sentinel_kwargs"]
    assert sentinel_options["ssl"] is True
    assert sentinel_options["ssl_ca_certs"] == "/ca.pem"
    assert found.results.url == "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_a_malformed_url_is_called_by_its_variable(name: str) -> None:
    """An error that leaves the reader to guess which of two URLs is wrong."""
    with pytest.raises(ValueError, match=f"^{name}: the path must name the primary"):
        WorkerSettings.from_env({name: "redis+sentinel://one"})
