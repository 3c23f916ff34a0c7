"""Whom proxies may speak for."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from coordinator.runtime.proxied import TrustedProxies, came_in_clear, is_loopback


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
    assert client_of(TrustedProxies(loopback=True), remote, told) == address


@pytest.mark.parametrize(
    ("remote", "told", "address"),
    [
        ("10.1.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("fd00::1", ["203.0.113.7"], "203.0.113.7"),
        # A proxy in front of the proxy, both of them named.
        ("10.1.0.1", ["198.51.100.1, 203.0.113.7, 10.1.0.2"], "203.0.113.7"),
        ("10.1.0.1", ["10.1.0.2"], "10.1.0.2"),
        ("10.1.0.1", ["203.0.113.7, nobody"], "10.1.0.1"),
        ("10.1.0.1", ["203.0.113.7, nobody, 10.1.0.2"], "10.1.0.2"),
        ("10.2.0.1", ["203.0.113.7"], "10.2.0.1"),
        ("127.0.0.1", ["203.0.113.7"], "127.0.0.1"),
        ("", ["203.0.113.7"], ""),
    ],
)
def test_named_proxies_are_believed_and_what_they_were_told_is_not(
    remote: str, told: list[str], address: str
) -> None:
    proxies = TrustedProxies(["10.1.0.0/24", "fd00::/8"])

    assert client_of(proxies, remote, told) == address


def test_without_a_proxy_nobody_is_believed() -> None:
    assert client_of(TrustedProxies(), "127.0.0.1", ["203.0.113.7"]) == "127.0.0.1"


def test_other_proxies_can_be_named_while_the_server_runs() -> None:
    proxies = TrustedProxies(["10.1.0.0/24"], loopback=True)

    proxies.use(["10.2.0.0/24"])

    assert [
        host for host in ("10.1.0.1", "10.2.0.1", "::1") if proxies.trusts(host)
    ] == [
        "10.2.0.1",
        "::1",
    ]


def test_what_a_proxy_got_in_clear_is_not_confidential() -> None:
    assert not came_in_clear(request([]))
    assert came_in_clear(request(["203.0.113.7"]))
    assert came_in_clear(request(["203.0.113.7"], "http"))
    assert not came_in_clear(request(["203.0.113.7"], "https"))


def test_the_loopback_is_this_machine_in_either_family() -> None:
    here = ("127.0.0.2", "::1", "::ffff:127.0.0.1")
    assert all(map(is_loopback, here))
    assert not any(map(is_loopback, ("192.0.2.1", "fe80::1%eth0", "localhost", "")))


def client_of(proxies: TrustedProxies, remote: str, told: list[str]) -> str:
    return proxies.client_of(remote, request(told).headers)


def request(told: list[str], scheme: str | None = None) -> web.Request:
    headers = CIMultiDict([("X-Forwarded-For", each) for each in told])
    if scheme is not None:
        headers["X-Forwarded-Proto"] = scheme
    return make_mocked_request("GET", "/", headers=headers)
