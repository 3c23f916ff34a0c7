"""Whom a proxy on this machine may speak for."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from coordinator.runtime.proxied import address_of, came_in_clear


@pytest.mark.parametrize(
    ("remote", "told", "address"),
    [
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", ["nobody"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
    ],
)
def test_only_the_last_word_of_a_proxy_on_this_machine_counts(
    remote: str, told: list[str], address: str
) -> None:
    assert address_of(request(remote, told), is_proxied=True) == address


def test_without_a_proxy_nobody_is_believed() -> None:
    forged = request("127.0.0.1", ["203.0.113.7"])

    assert address_of(forged, is_proxied=False) == "127.0.0.1"


def test_what_a_proxy_got_in_clear_is_not_confidential() -> None:
    assert not came_in_clear(request("127.0.0.1", []))
    assert came_in_clear(request("127.0.0.1", ["203.0.113.7"]))
    assert came_in_clear(request("127.0.0.1", ["203.0.113.7"], "http"))
    assert not came_in_clear(request("127.0.0.1", ["203.0.113.7"], "https"))


def request(remote: str, told: list[str], scheme: str | None = None) -> web.Request:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in told])
    if scheme is not None:
        headers["X-Forwarded-Proto"] = scheme
    return make_mocked_request("GET", "/", headers=headers).clone(remote=remote)
