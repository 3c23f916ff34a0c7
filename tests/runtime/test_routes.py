"""From where datagrams leave, held against what the kernel's routing decides."""

import asyncio
import socket
import subprocess
import time
from contextlib import closing
from functools import partial

import pytest

from meshwg.runtime.routes import INTERVAL, Routes, watch_routes
from meshwg.transmit import Endpoint, Source
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

FAR = {4: "203.0.113.9", 6: "2001:db8:9::9"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SERVICE = {4: "198.18.0.1", 6: "2001:db8:18::1"}


class Crossing:
    """A host at two switches, with a route to something far away over the first."""

    def __init__(self, lab: Lab, version: int) -> None:
        one = lab.add_switch("one", "192.0.2.0/24", "2001:db8:2::/64")
        two = lab.add_switch("two", "198.51.100.0/24", "2001:db8:3::/64")
        self.version = version
        self.host = lab.add_host("host", one)
        self.host.attach(two, "eth1")
        self.gateways = {
            "eth0": {4: "192.0.2.99", 6: "2001:db8:2::99"}[version],
            "eth1": {4: "198.51.100.99", 6: "2001:db8:3::99"}[version],
        }
        self.route("add", "eth0", "metric 100")

    def ip(self, command: str) -> None:
        self.host.run(["ip", f"-{self.version}", *command.split()])

    def route(self, verb: str, interface: str, more: str = "") -> None:
        gateway = self.gateways[interface]
        self.ip(f"route {verb} {FAR[self.version]} via {gateway} {more}")

    def at(self, interface: str) -> Source:
        """Return the source that datagrams which arrive there have."""
        index = self.host.call(lambda: socket.if_nametoindex(interface))
        addresses = self.host.attachments[interface].addresses
        is_ipv6 = self.version == 6
        return Source(next(a for a in addresses if (":" in a) == is_ipv6), index)

    def source_for(self, source: Source | None, mark: int = 0) -> Source | None:
        def ask() -> Source | None:
            family = FAMILY[self.version]
            with Routes() as routes, socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                endpoint = Endpoint(FAR[self.version], 9, source=source)
                return routes.source_for(endpoint, sock)

        return self.host.call(ask)


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def crossing(lab: Lab, request: pytest.FixtureRequest) -> Crossing:
    return Crossing(lab, request.param)


def test_a_source_is_kept_while_the_route_leads_over_its_interface(
    crossing: Crossing,
) -> None:
    assert crossing.source_for(crossing.at("eth0")) == crossing.at("eth0")
    crossing.route("add", "eth1", "metric 200")
    assert crossing.source_for(crossing.at("eth0")) == crossing.at("eth0")


def test_a_better_route_over_another_interface_is_followed_there_and_back(
    crossing: Crossing,
) -> None:
    crossing.route("add", "eth1", "metric 10")
    assert crossing.source_for(crossing.at("eth0")) is None
    assert crossing.source_for(crossing.at("eth1")) == crossing.at("eth1")
    crossing.route("delete", "eth1", "metric 10")
    assert crossing.source_for(crossing.at("eth0")) == crossing.at("eth0")


def test_a_route_that_is_gone_holds_no_source(crossing: Crossing) -> None:
    crossing.route("delete", "eth0")
    crossing.ip("route flush default")
    assert crossing.source_for(crossing.at("eth0")) is None


def test_an_address_that_is_gone_is_no_source(crossing: Crossing) -> None:
    source = crossing.at("eth0")
    crossing.ip("address flush dev eth0 scope global")
    crossing.route("replace", "eth1", "metric 100")
    assert crossing.source_for(source) is None


def test_rules_decide_by_source_and_by_mark(crossing: Crossing) -> None:
    crossing.route("add", "eth1", "table 77")
    crossing.ip(f"rule add from {crossing.at('eth1').host} lookup 77")
    assert crossing.source_for(crossing.at("eth0")) == crossing.at("eth0")
    assert crossing.source_for(crossing.at("eth1")) == crossing.at("eth1")
    crossing.ip("rule add fwmark 7 lookup 77")
    assert crossing.source_for(crossing.at("eth0")) == crossing.at("eth0")
    assert crossing.source_for(crossing.at("eth0"), mark=7) is None


def test_an_address_of_the_host_as_such_stays_over_any_interface(
    crossing: Crossing,
) -> None:
    host = SERVICE[crossing.version]
    crossing.ip(f"address add {host} dev lo")
    source = crossing.at("eth0")._replace(host=host)
    assert crossing.source_for(source) == source
    crossing.route("add", "eth1", "metric 10")
    assert crossing.source_for(source) == Source(host, 0)


def test_what_is_pinned_to_no_interface_is_left_alone(crossing: Crossing) -> None:
    assert crossing.source_for(None) is None
    free = Source("192.0.2.1", 0)
    assert crossing.source_for(free) == free


def test_changes_of_routes_rules_addresses_and_links_are_noticed(
    crossing: Crossing,
) -> None:
    version = crossing.version

    async def run(command: str) -> None:
        noticed = asyncio.Event()
        with closing(watch_routes(noticed.set)):
            ip_inside(version, command)
            async with asyncio.timeout(10):
                await noticed.wait()

    route = f"{FAR[version]} via {crossing.gateways['eth1']}"
    for command in (
        f"route add {route} metric 10",
        "rule add fwmark 9 lookup 77",
        f"address add {SERVICE[version]} dev eth1",
        "link set eth1 down",
    ):
        crossing.host.call(partial(asyncio.run, run(command)))


def test_a_storm_of_changes_costs_a_few_looks(lab: Lab) -> None:
    host: Host = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))
    looks: list[None] = []

    async def run() -> None:
        with closing(watch_routes(lambda: looks.append(None))):
            lines = [
                f"route add 10.{n >> 8}.{n & 255}.0/24 dev eth0" for n in range(2000)
            ]
            ip_inside(4, *lines)
            await asyncio.sleep(2 * INTERVAL)

    began = time.monotonic()
    host.call(lambda: asyncio.run(run()))
    # Two in a second, however long this machine takes.
    assert 1 <= len(looks) <= 2 + 2 * (time.monotonic() - began)


def ip_inside(version: int, *lines: str) -> None:
    """Change something in the namespace of this thread."""
    command = ["ip", f"-{version}", "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True)
