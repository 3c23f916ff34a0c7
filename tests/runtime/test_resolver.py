"""Servers' names become addresses, and those that do not are tried again."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence

import pytest

from meshwg.proxies import Proxies
from meshwg.relay.server import RelayServer
from meshwg.runtime import resolver as module
from meshwg.runtime.resolver import Resolver
from meshwg.transmit import Endpoint
from meshwg.wire.control import Relay

PATIENCE = 5.0
NAMES = {"two.test": ["2001:db8::1", "192.0.2.1"], "relay.test": ["192.0.2.9"]}


class Names:
    """A name server."""

    def __init__(self) -> None:
        self.known = {name: list(found) for name, found in NAMES.items()}
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[object]:
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, 0)) for address in self.known[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


async def test_numeric_addresses_need_no_names(names: Names) -> None:
    found = await resolve(["192.0.2.5:3478", "[2001:db8::5]:3479", "192.0.2.5:3478"])

    assert found.servers == [
        Endpoint("192.0.2.5", 3478),
        Endpoint("2001:db8::5", 3479),
    ]
    assert names.asked == []


async def test_a_name_gives_all_its_addresses_ipv4_first(names: Names) -> None:
    found = await resolve(["two.test:3478"])

    assert found.servers == [
        Endpoint("192.0.2.1", 3478),
        Endpoint("2001:db8::1", 3478),
    ]


async def test_an_impossible_name_is_not_found(names: Names) -> None:
    names.known["x" * 64 + ".test"] = []

    found = await resolve(["x" * 64 + ".test:1", "192.0.2.6:1"])

    assert found.servers == [Endpoint("192.0.2.6", 1)]


@pytest.mark.parametrize(
    "text",
    [
        *("", "192.0.2.5", "192.0.2.5:", "192.0.2.5:many", "192.0.2.5:0"),
        *("192.0.2.5:65536", "192.0.2.5:٣", "fe80::5%1:1", "caf\x00:1"),
    ],
)
async def test_an_attribute_without_a_port_is_skipped(names: Names, text: str) -> None:
    found = await resolve([text, "192.0.2.6:1"])

    assert found.servers == [Endpoint("192.0.2.6", 1)]


async def test_a_relay_keeps_its_credentials(names: Names) -> None:
    found = await resolve([], [relay("turn:relay.test:3478?transport=udp")])

    (server,) = found.relays
    assert (server.address, server.username, server.password) == (
        "192.0.2.9",
        "user",
        "password",
    )


async def test_a_relay_of_an_unknown_kind_is_skipped(names: Names) -> None:
    found = await resolve(
        [], [relay("turn:x?transport=sctp"), relay("turn:relay.test")]
    )

    assert [server.url.host for server in found.relays] == ["relay.test"]


async def test_names_behind_a_proxy_are_left_to_the_proxy(names: Names) -> None:
    proxies = Proxies.read({"https_proxy": "proxy.test:3128", "no_proxy": "relay.test"})
    relays = [
        relay("turns:hidden.test:443?transport=tcp"),
        relay("wss://hidden.test/v1/relay"),
        relay("turn:hidden.test:3478?transport=udp"),
        relay("ws://hidden.test/v1/relay"),
        relay("wss://relay.test/v1/relay"),
    ]

    found = await resolve([], relays, proxies)

    assert [(str(each.url), each.address) for each in found.relays] == [
        ("turns:hidden.test:443?transport=tcp", "hidden.test"),
        ("wss://hidden.test:443/v1/relay", "hidden.test"),
        ("wss://relay.test:443/v1/relay", "192.0.2.9"),
    ]
    assert names.asked == ["hidden.test", "hidden.test", "relay.test"]


async def test_what_was_not_found_is_looked_for_again(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.001)
    found = Found()
    resolver = Resolver(found.take)
    resolver.resolve(["late.test:1", "192.0.2.5:2"], [])
    await found.times(2)
    assert found.servers == [Endpoint("192.0.2.5", 2)]

    names.known["late.test"] = ["192.0.2.7"]
    await found.until(lambda: len(found.servers) == 2)

    assert found.servers == [Endpoint("192.0.2.7", 1), Endpoint("192.0.2.5", 2)]
    resolver.close()


async def test_a_newer_set_replaces_an_older_one(names: Names) -> None:
    found = Found()
    resolver = Resolver(found.take)

    resolver.resolve(["late.test:1"], [])
    resolver.resolve(["192.0.2.5:2"], [])
    await found.times(1)
    await asyncio.sleep(0.01)

    assert found.servers == [Endpoint("192.0.2.5", 2)]
    assert found.count == 1


async def test_a_closed_resolver_reports_nothing_more(names: Names) -> None:
    found = Found()
    resolver = Resolver(found.take)

    resolver.resolve(["192.0.2.5:2"], [])
    resolver.close()
    resolver.close()
    await asyncio.sleep(0.01)

    assert found.count == 0


def test_a_lookup_that_hangs_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    asked, released, answered = asyncio.Event(), threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        loop.call_soon_threadsafe(asked.set)
        released.wait(PATIENCE)
        order.append("the look-up ends")
        answered.set()
        return []

    async def look_up_and_leave() -> None:
        resolver = Resolver(Found().take)
        resolver.resolve(["slow.test:1"], [])
        await asked.wait()
        resolver.close()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(look_up_and_leave())
    order.append("the loop ends")
    released.set()

    assert answered.wait(PATIENCE)
    assert order == ["the loop ends", "the look-up ends"]


class Found:
    """Takes what a resolver finds."""

    def __init__(self) -> None:
        self.servers: list[Endpoint] = []
        self.relays: list[RelayServer] = []
        self.count = 0

    def take(self, servers: Sequence[Endpoint], relays: Sequence[RelayServer]) -> None:
        self.servers, self.relays = list(servers), list(relays)
        self.count += 1

    async def times(self, count: int) -> None:
        """Wait until something was found so many times."""
        await self.until(lambda: self.count >= count)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("It never happened")


async def resolve(
    stun: Sequence[str],
    relays: Sequence[Relay] = (),
    proxies: Proxies | None = None,
) -> Found:
    """Return what a resolver finds at first."""
    found = Found()
    resolver = Resolver(found.take, proxies)
    resolver.resolve(stun, relays)
    await found.times(1)
    resolver.close()
    return found


def relay(url: str) -> Relay:
    return Relay(url=url, username="user", password="password", expires=0)
