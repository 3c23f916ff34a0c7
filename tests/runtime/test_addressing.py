"""What the node wants of its interface: done, or logged."""

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from meshwg.errors import ConfigError
from meshwg.node import InterfaceChanged
from meshwg.runtime.addressing import Addressing
from meshwg.runtime.interface import MeshInterface, Network
from meshwg.runtime.tun import TunDevice

HOME = Network(("192.168.1.2",), ("192.168.1.0/24",), ())
WANTED = InterfaceChanged(("100.64.0.1/10", "fd00::1/64"), ("10.1.0.0/16",), ())
MESH = ("100.64.0.0/10", "fd00::/64")


class StandInInterface:
    """An interface that notes how it is configured, or is refused."""

    def __init__(self) -> None:
        self.configured: list[tuple[Iterable[str], Iterable[str]]] = []
        self.refusal: ConfigError | None = None
        self.tun = SimpleNamespace(local_addresses=frozenset())
        self.addressing = Addressing(
            cast(TunDevice, self.tun), cast(MeshInterface, self)
        )

    async def configure(self, addresses: Iterable[str], routes: Iterable[str]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.configured.append((addresses, routes))

    async def change(
        self,
        wanted: InterfaceChanged = WANTED,
        mesh: Iterable[str] = MESH,
        network: Network = HOME,
    ) -> None:
        self.addressing.change(wanted, mesh, network)
        await self.addressing._tasks.wait()


@pytest.fixture
async def interface() -> StandInInterface:
    return StandInInterface()


async def test_the_interface_gets_addresses_and_routes(
    interface: StandInInterface, caplog: pytest.LogCaptureFixture
) -> None:
    await interface.change()

    assert interface.configured == [(WANTED.addresses, WANTED.routes)]
    assert interface.tun.local_addresses == {
        bytes([100, 64, 0, 1]),
        bytes.fromhex("fd000000000000000000000000000001"),
    }
    assert caplog.messages == []


async def test_what_the_system_refuses_is_logged(
    interface: StandInInterface, caplog: pytest.LogCaptureFixture
) -> None:
    interface.refusal = ConfigError("IPv6 is disabled")

    await interface.change()

    assert caplog.messages == ["IPv6 is disabled"]


async def test_a_network_that_gets_no_route_is_named_once(
    interface: StandInInterface, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = replace(WANTED, hidden=("192.168.1.0/24",))
    for wanted in hidden, hidden, WANTED, hidden:
        await interface.change(wanted)

    assert caplog.messages == 2 * [
        "The route to 192.168.1.0/24 is not used: this machine is in that network "
        "itself"
    ]


async def test_a_mesh_that_overlaps_the_hosts_network_is_warned_of(
    interface: StandInInterface, caplog: pytest.LogCaptureFixture
) -> None:
    await interface.change(mesh=("fd00::/64", "192.168.0.0/16"))

    (message,) = caplog.messages
    assert "The mesh's network 192.168.0.0/16 is also used" in message
    assert "--network4" in message


async def test_once_closed_it_configures_nothing(interface: StandInInterface) -> None:
    interface.addressing.change(WANTED, MESH, HOME)

    interface.addressing.close()
    await interface.addressing._tasks.wait()

    assert interface.configured == []
