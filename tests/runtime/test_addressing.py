"""What the node wants of its interface: kept so, and said where that cannot be."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from types import SimpleNamespace
from typing import cast

import pytest

from meshwg.contention import PATIENCE
from meshwg.health import Complaint, Health, Severity
from meshwg.node import InterfaceChanged
from meshwg.routing import Configuration
from meshwg.runtime.addressing import Addressing
from meshwg.runtime.interface import MeshInterface, Problem, Settlement
from meshwg.runtime.tun import TunDevice

WANTED = InterfaceChanged(
    ("100.64.0.1/10", "fd00::1/64"),
    ("10.1.0.0/16",),
    (),
    networks=("100.64.0.0/10", "fd00::/64"),
    hosts=("100.64.0.2/32",),
    announced=("192.168.7.0/24",),
    unreachable=("fd00::7",),
)


class StandInInterface:
    """An interface that notes what is wanted, and of which a test says what came."""

    def __init__(self) -> None:
        self.name = "mesh0"
        self.is_apart = True
        self.refusal = ""
        self.ipv6 = True
        self.outcome = Settlement()
        self.wanted: Configuration | None = None
        self.settled = 0
        self.health = Health()
        self.told: list[bool] = []
        self.tun = SimpleNamespace(local_addresses=frozenset())
        self.addressing = Addressing(
            cast(TunDevice, self.tun),
            cast(MeshInterface, self),
            self.health,
            self.told.append,
        )

    def want(self, wanted: Configuration) -> None:
        self.wanted = wanted

    def settle(self) -> Settlement:
        self.settled += 1
        return self.outcome

    def has_ipv6(self) -> bool:
        return self.ipv6

    async def change(self, wanted: InterfaceChanged = WANTED) -> None:
        self.addressing.change(wanted)
        await self.addressing._tasks.wait()

    async def look(self) -> None:
        self.addressing.look()
        await self.addressing._tasks.wait()

    def complaint(self) -> Complaint:
        """Return the only complaint there is."""
        (found,) = self.health
        return found


@pytest.fixture
async def interface() -> AsyncIterator[StandInInterface]:
    made = StandInInterface()
    yield made
    made.addressing.close()


async def test_the_interface_gets_what_the_node_wants(
    interface: StandInInterface, caplog: pytest.LogCaptureFixture
) -> None:
    await interface.change()

    assert interface.wanted == Configuration(
        (ip_interface("100.64.0.1/10"), ip_interface("fd00::1/64")),
        tuple(
            ip_network(each)
            for each in ("100.64.0.0/10", "fd00::/64", "100.64.0.2/32", "10.1.0.0/16")
        ),
        (ip_network("192.168.7.0/24"),),
        (ip_network("fd00::7/128"),),
    )
    assert interface.settled == 1
    assert interface.tun.local_addresses == {
        bytes([100, 64, 0, 1]),
        bytes.fromhex("fd000000000000000000000000000001"),
    }
    assert list(interface.health) == []
    assert caplog.messages == []


async def test_what_the_system_refuses_is_said_and_logged_once(
    interface: StandInInterface, caplog: pytest.LogCaptureFixture
) -> None:
    route = Problem("the route to 10.1.0.0/16", "Operation not permitted")
    interface.outcome = Settlement(problems=[route, route])

    await interface.change()
    await interface.look()

    assert interface.complaint().code == "interface-incomplete"
    assert interface.complaint().severity is Severity.FAILURE
    assert (
        "refuses the route to 10.1.0.0/16 on mesh0 (Operation not permitted), and 1"
        in interface.complaint().text
    )
    assert len(caplog.messages) == 1
    interface.outcome = Settlement()
    await interface.look()
    assert list(interface.health) == []


async def test_networks_that_are_not_reached_through_the_mesh_are_named(
    interface: StandInInterface,
) -> None:
    interface.outcome = Settlement(shadowed=(ip_network("10.1.0.0/16"),))
    await interface.change(replace(WANTED, hidden=("192.168.1.0/24",)))

    assert interface.complaint().code == "route-not-used"
    assert "192.168.1.0/24, 10.1.0.0/16." in interface.complaint().text


async def test_a_mesh_that_overlaps_the_hosts_network_is_warned_of(
    interface: StandInInterface,
) -> None:
    # The mesh's own network then has no route, and that is no news of its own.
    interface.outcome = Settlement(shadowed=(ip_network("100.64.0.0/10"),))
    await interface.change(replace(WANTED, collisions=("100.64.0.0/10",)))

    assert interface.complaint().code == "network-collision"
    assert "100.64.0.0/10" in interface.complaint().text
    assert "--network4" in interface.complaint().mend


async def test_without_ipv6_the_address_that_is_missing_is_named(
    interface: StandInInterface,
) -> None:
    interface.ipv6 = False
    await interface.change()
    assert interface.told == [False]
    assert interface.complaint().code == "ipv6-disabled"
    assert "fd00::1" in interface.complaint().text
    assert "mesh0.disable_ipv6=0" in interface.complaint().mend

    await interface.change(replace(WANTED, addresses=WANTED.addresses[:1]))
    assert list(interface.health) == []


async def test_that_the_underlay_is_not_apart_is_said(
    interface: StandInInterface,
) -> None:
    interface.is_apart, interface.refusal = False, "Operation not supported"
    await interface.change()
    assert interface.complaint().code == "underlay-not-apart"
    assert "Operation not supported" in interface.complaint().text


async def test_what_others_change_is_put_back_and_said(
    interface: StandInInterface,
) -> None:
    await interface.change()
    interface.outcome = Settlement(restored=["the address fd00::1/64"])

    await interface.look()

    assert interface.settled == 2
    assert interface.complaint().code == "interface-changed-by-others"
    assert "the address fd00::1/64" in interface.complaint().text


async def test_what_others_change_all_the_time_is_left_for_a_while(
    interface: StandInInterface,
) -> None:
    await interface.change()
    interface.outcome = Settlement(restored=["a rule"])
    for _ in range(3 * PATIENCE):
        await interface.look()

    assert interface.settled == 1 + PATIENCE + 1
    assert interface.complaint().severity is Severity.FAILURE
    # What the node itself wants is not left.
    await interface.change()
    assert interface.settled == 1 + PATIENCE + 2


async def test_once_closed_it_configures_nothing(interface: StandInInterface) -> None:
    interface.addressing.change(WANTED)

    interface.addressing.close()
    await interface.addressing._tasks.wait()

    assert interface.settled == 0
