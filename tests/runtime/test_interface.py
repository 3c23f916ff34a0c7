"""The node's own interface, and the network around it, as the kernel has them."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime import interface as module
from meshwg.runtime.interface import (
    MeshInterface,
    Network,
    NetworkWatcher,
    automatic_mtu,
    look_around,
)
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

T = TypeVar("T")
MESH = "meshwg0"
ADDRESSES = ("100.64.0.1/16", "fd00::1/48")


@pytest.fixture
def host(lab: Lab) -> Host:
    made = lab.add_host(
        "host", lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    )
    made.run(["ip", "link", "add", MESH, "type", "bridge"])
    return made


def test_addresses_and_routes_are_those_wanted(host: Host) -> None:
    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.up(1400)
        await interface.configure(ADDRESSES, ["10.1.0.0/16", "fd01::/48"])

    run(host, configure)

    assert "mtu 1400" in shown(host, "link")
    assert all(address in shown(host, "address") for address in ADDRESSES)
    assert "10.1.0.0/16 dev meshwg0" in routes(host, "-4")
    assert "fd01::/48 dev meshwg0" in routes(host, "-6")
    assert "100.64.0.0/16 dev meshwg0" in routes(host, "-4")


def test_a_route_to_somewhere_else_is_left_alone(host: Host) -> None:
    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.up(1400)
        await interface.configure(ADDRESSES, ["192.0.2.0/24", "10.1.0.0/16"])

    with pytest.raises(ConfigError, match="route to 192"):
        run(host, configure)

    assert "192.0.2.0/24 dev eth0" in routes(host, "-4")
    assert "10.1.0.0/16 dev meshwg0" in routes(host, "-4")


def test_what_is_no_longer_wanted_is_removed(host: Host) -> None:
    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.up(1400)
        await interface.configure(ADDRESSES, ["10.1.0.0/16"])
        await interface.configure(("100.64.0.2/16",), ["10.2.0.0/16"])

    run(host, configure)

    assert "100.64.0.2/16" in shown(host, "address")
    assert "100.64.0.1/16" not in shown(host, "address")
    assert "fd00::1" not in shown(host, "address")
    assert "10.2.0.0/16" in routes(host, "-4")
    assert "10.1.0.0/16" not in routes(host, "-4")


def test_what_other_programs_added_stays(host: Host) -> None:
    host.run(["ip", "address", "add", "198.51.100.1/24", "dev", MESH])

    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.up(1400)
        await interface.configure(ADDRESSES, [])
        await interface.configure((), [])

    run(host, configure)

    assert "198.51.100.1/24" in shown(host, "address")


def test_changes_at_one_time_are_made_one_after_the_other(host: Host) -> None:
    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.up(1400)
        await asyncio.gather(
            *(interface.configure((f"100.64.0.{n}/16",), []) for n in range(1, 6))
        )

    run(host, configure)

    assert shown(host, "address").count("inet 100.64") == 1
    assert "100.64.0.5/16" in shown(host, "address")


def test_without_ipv6_the_node_goes_on_with_ipv4(host: Host) -> None:
    host.namespace.set_sysctl({f"net.ipv6.conf.{MESH}.disable_ipv6": 1})

    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.up(1400)
        await interface.configure(ADDRESSES, [])

    with pytest.raises(ConfigError, match="check whether IPv6 is disabled"):
        run(host, configure)

    assert ADDRESSES[0] in shown(host, "address")


def test_routes_that_the_system_refuses_are_named(host: Host) -> None:
    async def configure() -> None:
        interface = MeshInterface(MESH)
        await interface.configure((), ["10.1.0.0/16"])

    with pytest.raises(ConfigError, match="cannot be added to meshwg0"):
        run(host, configure)


def test_surrounding_addresses_are_those_that_others_can_reach(host: Host) -> None:
    host.run(["ip", "address", "add", "100.64.0.1/16", "dev", MESH])
    host.run(["ip", "link", "set", MESH, "up"])
    host.run(["ip", "link", "add", "off0", "type", "bridge"])
    host.run(["ip", "address", "add", "198.51.100.1/24", "dev", "off0"])
    host.run(["ip", "route", "add", "default", "via", "192.0.2.254"])

    own = index(host, MESH)
    network = run(host, lambda: look_around(own))

    assert network.addresses == (host.address(4), host.address(6))
    assert network.networks == ("192.0.2.0/24", "2001:db8::/64")
    assert network.default_routes == ((index(host, "eth0"), "192.0.2.254"),)


def test_of_two_default_routes_the_preferred_one_comes_first(host: Host) -> None:
    own = index(host, MESH)
    seen = []
    for first, second in ((100, 200), (200, 100)):
        host.run(["ip", "route", "flush", "default"])
        for gateway, metric in (("192.0.2.254", first), ("192.0.2.253", second)):
            route = ["ip", "route", "add", "default", "via", gateway]
            host.run([*route, "metric", str(metric)])
        found = run(host, lambda: look_around(own))
        seen.append([gateway for _, gateway in found.default_routes])

    assert seen == [["192.0.2.254", "192.0.2.253"], ["192.0.2.253", "192.0.2.254"]]


def test_networks_that_overlap_the_mesh_are_found() -> None:
    network = Network((), ("192.168.1.0/24", "100.64.9.0/24", "fd00::/64"), ())

    assert network.overlapping(["10.0.0.0/8", "100.64.0.0/16"]) == "100.64.0.0/16"
    assert network.overlapping(["fd00::/48"]) == "fd00::/48"
    assert network.overlapping(["10.0.0.0/8", "fd01::/48"]) is None


@pytest.mark.parametrize(
    ("link_mtu", "expected"), [(1500, 1400), (9000, 1400), (1420, 1320), (1300, 1280)]
)
def test_the_mtu_fits_the_links_of_the_host(
    host: Host, link_mtu: int, expected: int
) -> None:
    host.run(["ip", "link", "set", "eth0", "mtu", str(link_mtu)])

    assert run(host, automatic_mtu) == expected


def test_changes_are_reported_once_they_are_over(host: Host) -> None:
    told = watch(
        host,
        ["ip", "address", "add", "192.0.2.77/24", "dev", "eth0"],
        ["ip", "address", "del", "192.0.2.77/24", "dev", "eth0"],
        ["ip", "route", "add", "default", "via", "192.0.2.254"],
    )

    assert told == 1


def test_changes_of_the_mesh_interface_are_not_reported(host: Host) -> None:
    told = watch(
        host,
        ["ip", "link", "set", MESH, "mtu", "1300"],
        ["ip", "link", "set", MESH, "alias", "mesh"],
    )

    assert told == 0


def watch(host: Host, *commands: list[str]) -> int:
    """Run commands and return how often a watcher told of a change."""
    told: list[None] = []
    own = index(host, MESH)

    async def watching() -> None:
        watcher = NetworkWatcher(lambda: told.append(None), except_interface=own)
        for command in commands:
            await (await asyncio.create_subprocess_exec(*command)).wait()
        await asyncio.sleep(2 * module.SETTLE)
        watcher.close()

    run(host, watching)
    return len(told)


def run(host: Host, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do something in the host's network."""
    return host.call(lambda: asyncio.run(work()))


def index(host: Host, interface: str) -> int:
    shown = host.run(["ip", "-json", "link", "show", "dev", interface]).stdout
    return int(json.loads(shown)[0]["ifindex"])


def shown(host: Host, what: str) -> str:
    return host.run(["ip", what, "show", "dev", MESH]).stdout


def routes(host: Host, family: str) -> str:
    return host.run(["ip", family, "route"]).stdout
