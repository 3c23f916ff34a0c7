"""One look at the network: real sockets on loopback, names, and what is missing."""

import functools
import socket
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from meshwg.errors import ConfigError
from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.discovery import ServerReport
from meshwg.nat.lifetime import LifetimeSearch
from meshwg.nattypes import Mapping, NatType
from meshwg.runtime import netcheck as module
from meshwg.runtime.netcheck import (
    NetcheckReport,
    PortMappingSummary,
    netcheck,
)
from meshwg.transmit import Endpoint

pytestmark = pytest.mark.usefixtures("no_gateway")


async def test_on_loopback_there_is_neither_nat_nor_filter(server: int) -> None:
    report = await netcheck([f"127.0.0.1:{server}"])

    assert report.ipv4.type is NatType.OPEN_INTERNET
    assert report.ipv4.port_preserving
    assert report.ipv6 is None
    assert [one.error for one in report.servers] == [None]
    assert report.to_json()["udp"] is True


async def test_both_families_are_examined(server: int) -> None:
    report = await netcheck([f"127.0.0.1:{server}", f"[::1]:{server}"])

    assert report.ipv6 is not None
    assert report.ipv6.mapping is Mapping.NONE
    assert {one.address.host for one in report.servers} == {"127.0.0.1", "::1"}


async def test_a_silent_server_is_named_and_udp_looks_blocked() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]

        report = await netcheck([f"127.0.0.1:{port}"], limit=1.0)

    assert report.ipv4.type is NatType.UDP_BLOCKED
    assert report.servers[0].error == "no answer"
    assert "UDP is blocked" in report.verdict


async def test_a_name_without_an_address_is_named() -> None:
    report = await netcheck(["nothing.invalid"], limit=1.0)

    assert report.unresolved == {"nothing.invalid:3478": "its name has no address"}
    assert report.ipv4.type is NatType.UNKNOWN
    assert report.to_json()["servers"] == [
        {
            "address": "nothing.invalid:3478",
            "rtt_ms": None,
            "error": "its name has no address",
        }
    ]


async def test_a_resolver_that_hangs_delays_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        answered.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    report = await netcheck(["slow.example"], limit=0.5)
    answered.set()

    assert list(report.unresolved) == ["slow.example:3478"]


async def test_without_a_route_the_host_is_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_local_address", lambda *where: None)

    report = await netcheck(["192.0.2.1", "[2001:db8::1]"], limit=1.0)

    assert report.ipv4 == NatBehavior()
    assert report.ipv6 is None
    assert {one.error for one in report.servers} == {"no route to it"}
    assert report.verdict.startswith("This machine is offline")


async def test_the_lifetime_is_measured_if_asked_for(
    server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = functools.partial(LifetimeSearch, ages=(0.05, 0.1))
    monkeypatch.setattr(module, "LifetimeSearch", quick)

    report = await netcheck([f"127.0.0.1:{server}"], lifetime=True)

    assert report.ipv4.lifetime == 0.1


async def test_the_lifetime_stays_unknown_where_nobody_answers() -> None:
    report = await netcheck(["192.0.2.1:1"], limit=0.5, lifetime=True)

    assert report.ipv4.lifetime is None


@pytest.mark.parametrize("text", ["", ":3478", "host:", "host:x", "host:0", "h:65536"])
async def test_an_invalid_server_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a STUN server: write HOST"):
        await netcheck([text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stun.example", ("stun.example", 3478)),
        ("stun.example:99", ("stun.example", 99)),
        ("192.0.2.1:99", ("192.0.2.1", 99)),
        ("[2001:db8::1]:99", ("2001:db8::1", 99)),
        ("[2001:db8::1]", ("2001:db8::1", 3478)),
        ("2001:db8::1", ("2001:db8::1", 3478)),
    ],
)
def test_servers_are_written_in_the_usual_ways(
    text: str, expected: tuple[str, int]
) -> None:
    assert module._parse_server(text) == expected


def test_the_json_form_is_that_of_the_contract() -> None:
    report = NetcheckReport(
        NatBehavior(reachable=True),
        None,
        [ServerReport(Endpoint("192.0.2.1", 3478), 0.01234, None)],
        {},
        PortMappingSummary(pcp=True, external=Endpoint("203.0.113.1", 5000)),
    )

    json = report.to_json()

    assert json["schema"] == 1
    assert json["ipv6"] is None
    assert json["servers"] == [
        {"address": "192.0.2.1:3478", "rtt_ms": 12.3, "error": None}
    ]
    assert json["port_mapping"] == {
        "pcp": True,
        "nat_pmp": False,
        "upnp": False,
        "external": "203.0.113.1:5000",
    }
    assert "the router forwards a port (PCP)" in json["verdict"]


@pytest_asyncio.fixture
async def server() -> AsyncIterator[int]:
    """Yield the port of a server on two IPv4 addresses and one of IPv6."""
    for port in range(34781, 34999, 2):
        hosts = ("127.0.0.1", "127.0.0.2", "::1")
        service = UdpService(StunServer([Endpoint(host, port) for host in hosts]))
        try:
            await service.start()
        except Exception:
            continue
        yield port
        await service.close()
        return


@pytest.fixture
def no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the test from asking the gateway of the machine it runs on."""

    async def probe(limit: float, fwmark: int) -> PortMappingSummary:
        return PortMappingSummary()

    monkeypatch.setattr(module, "probe_port_mapping", probe)
