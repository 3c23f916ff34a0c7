"""What a daemon knows of its network, how old it is, and when somebody has to wait."""

import asyncio
import socket
from types import SimpleNamespace
from typing import cast

import pytest

from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.discovery import NO_ROUTE, ServerReport
from meshwg.nat.gateway import Mapped, MappingMethod
from meshwg.runtime import clock
from meshwg.runtime import known_network as module
from meshwg.runtime.default_gateway import Gateway
from meshwg.runtime.host import NodeHost
from meshwg.runtime.known_network import STALE, KnownGateway, KnownNetwork, summary
from meshwg.runtime.portmap import PortMappingReport
from meshwg.transmit import Endpoint

STUN = Endpoint("192.0.2.1", 3478)
MARK = 0x1234
EXTERNAL = Endpoint("203.0.113.1", 5000)

# The NAT


async def test_what_is_known_is_said_at_once_with_its_age(host: "StandInHost") -> None:
    host.know(seconds_ago=12)

    report = (await host.network.report(5.0)).to_json()

    assert host.asked == []
    assert report["udp"] is True
    assert [server["address"] for server in report["servers"]] == ["192.0.2.1:3478"]
    assert 12 <= report["age_s"] < 13


async def test_what_is_old_is_said_too_and_looked_at_again(host: "StandInHost") -> None:
    host.know(seconds_ago=STALE + 1)

    report = await host.network.report(5.0)

    assert report.age is not None
    assert report.age > STALE
    assert host.asked == ["look behind the answer"]


async def test_where_nothing_is_known_the_look_is_waited_for(
    host: "StandInHost",
) -> None:
    report = await host.network.report(5.0)

    assert host.asked == ["wait 5.0"]
    assert report.ipv4.reachable


async def test_what_is_to_be_fresh_is_waited_for(host: "StandInHost") -> None:
    host.know(seconds_ago=3)

    report = await host.network.report(2.0, fresh=True)

    assert host.asked == ["look at once", "wait 2.0"]
    assert report.age is not None
    assert report.age < 1


async def test_what_was_not_found_out_in_time_has_no_age(host: "StandInHost") -> None:
    host.is_slow = True

    report = await host.network.report(0.5)

    assert report.age is None
    assert report.to_json()["udp"] is False


async def test_a_host_that_lost_its_addresses_is_offline(host: "StandInHost") -> None:
    host.know(seconds_ago=1)
    host.whereabouts.has = lambda family: False
    host.whereabouts.servers = {4: [ServerReport(STUN, None, NO_ROUTE)]}

    report = (await host.network.report(5.0)).to_json()

    assert report["verdict"].startswith("This machine is offline")
    assert report["ipv6"] is None


# The gateway


async def test_a_gateway_is_asked_once(gateway: "StandInGateway") -> None:
    known = KnownGateway()

    for _ in range(3):
        assert (await known.ask(10)).pcp

    assert gateway.times_asked == 1


async def test_it_is_asked_again_behind_the_answer(
    gateway: "StandInGateway", monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KnownGateway()
    await known.ask(10)
    monkeypatch.setattr(module, "STALE", -1.0)
    gateway.is_slow = True

    assert (await known.ask(10)).pcp

    await asyncio.sleep(0)
    assert gateway.times_asked == 2


@pytest.mark.parametrize("fresh", [True, False])
async def test_another_gateway_or_a_fresh_look_has_to_be_waited_for(
    gateway: "StandInGateway", fresh: bool
) -> None:
    known = KnownGateway()
    await known.ask(10)
    gateway.speaks = PortMappingReport(nat_pmp=True)
    if not fresh:
        gateway.found = Gateway("192.0.2.254", "192.0.2.2")

    report = await known.ask(10, fresh=fresh)

    assert report == PortMappingReport(nat_pmp=True)


async def test_of_a_slow_gateway_it_is_said_what_has_come(
    gateway: "StandInGateway",
) -> None:
    known = KnownGateway()
    gateway.is_slow = True

    assert (await known.ask(0.01)).pcp
    assert (await known.ask(0.01)).pcp

    assert gateway.times_asked == 1


async def test_the_gateway_is_looked_for_and_asked_with_the_mark_of_the_node(
    gateway: "StandInGateway",
) -> None:
    await KnownGateway(MARK).ask(10)

    assert gateway.marks == [MARK]


@pytest.mark.parametrize(
    ("method", "spoken"),
    [
        (MappingMethod.PCP, (True, False, False)),
        (MappingMethod.NAT_PMP, (False, True, False)),
        (MappingMethod.UPNP, (False, False, True)),
    ],
)
def test_a_mapping_shows_what_is_spoken(
    method: MappingMethod, spoken: tuple[bool, bool, bool]
) -> None:
    mapped = Mapped(EXTERNAL, method, expires_at=0.0, public=True)

    found = summary(PortMappingReport(), mapped)

    assert (found.pcp, found.nat_pmp, found.upnp) == spoken
    assert found.external == EXTERNAL


def test_without_a_mapping_there_is_nothing_external() -> None:
    found = summary(PortMappingReport(upnp=True), None)

    assert (found.upnp, found.external) == (True, None)


class StandInHost:
    """A host, as far as it is asked for what it knows.

    :ivar asked: what it was told to do.
    :ivar is_slow: whether a look takes longer than anybody waits.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_slow = False
        self.fwmark = MARK
        self.mapped = None
        self.whereabouts = SimpleNamespace(
            nat={4: None, 6: None},
            servers={4: [ServerReport(STUN, 0.01, None)], 6: []},
            looked_at=None,
            has=lambda family: True,
        )
        self.node = SimpleNamespace(whereabouts=self.whereabouts)
        self.network = KnownNetwork(cast(NodeHost, self))

    def know(self, seconds_ago: float) -> None:
        self.whereabouts.nat[4] = NatBehavior(reachable=True)
        self.whereabouts.looked_at = clock.now() - seconds_ago

    def look_again(self, *, at_once: bool) -> None:
        self.asked.append("look at once" if at_once else "look behind the answer")
        if at_once:
            self.whereabouts.looked_at = None

    async def wait_until_looked(self, limit: float) -> None:
        if self.whereabouts.looked_at is None:
            self.asked.append(f"wait {limit}")
            if not self.is_slow:
                self.know(seconds_ago=0)


class StandInGateway:
    """A gateway that says what it speaks.

    :ivar is_slow: whether it leaves a question open.
    """

    def __init__(self) -> None:
        self.found = Gateway("192.0.2.1", "192.0.2.2")
        self.speaks = PortMappingReport(pcp=True)
        self.is_slow = False
        self.times_asked = 0
        self.marks: list[int] = []

    def find(self, family: socket.AddressFamily, fwmark: int) -> Gateway:
        self.marks.append(fwmark)
        return self.found

    async def probe(self, *, find: object, report: PortMappingReport) -> object:
        self.times_asked += 1
        report.pcp, report.nat_pmp = self.speaks.pcp, self.speaks.nat_pmp
        if self.is_slow:
            await asyncio.Event().wait()
        return report


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> StandInGateway:
    made = StandInGateway()
    monkeypatch.setattr(module, "find_gateway", made.find)
    monkeypatch.setattr(module, "probe", made.probe)
    return made


@pytest.fixture
def host(gateway: StandInGateway) -> StandInHost:
    return StandInHost()
