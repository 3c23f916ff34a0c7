"""Two routers of one network: one is left when it is killed, stops, or its LAN dies."""

import re
import signal
from dataclasses import dataclass

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.process import Process
from tests.interop.meshes import Coordinator, Member, leftovers

pytestmark = pytest.mark.netns

SITE = "10.77.1.0/24"
INTERVAL = 0.05
"""Seconds between two pings."""


@dataclass
class Site:
    """A printer on a LAN with two routers, and alice somewhere else."""

    alice: Member
    routers: list[Member]
    printer: Host

    def route(self, number: int) -> tuple[str, str]:
        """Return the options of a router."""
        return route(self.printer, number)

    def ping(self) -> Process:
        """Ping the printer from alice until told to stop, with a line for each."""
        address = self.printer.address(4)
        options = ["-n", "-D", "-O", "-i", str(INTERVAL), "-W", "1"]
        process = self.alice.host.popen(["ping", *options, address], log="ping.log")
        process.wait_for_line("bytes from")
        return process

    def gateway(self) -> str:
        """Return the name of the router that alice uses."""
        (name,) = (
            name for name, peer in self.alice.peers().items() if SITE in peer["routes"]
        )
        return name


@pytest.fixture
def site(lab: Lab) -> Site:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    cable = lab.add_switch("lan", SITE)
    printer = lab.add_host("printer", cable)
    routers = []
    for number, name in enumerate(("first", "second")):
        host = lab.add_host(name, lab.internet)
        host.attach(cable, "eth1")
        routers.append(Member(host).join(token, *route(printer, number)))
    for router in routers:
        coordinator.command("route", "approve", router.name, SITE)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    alice.wait_until_sees("first", "second")
    alice.host.ping(printer.address(4))
    return Site(alice, routers, printer)


def test_the_next_router_is_used_when_one_is_killed_stops_or_has_no_lan(
    site: Site,
) -> None:
    alice, first = site.alice, site.routers[0]
    assert site.gateway() == "first"
    assert "masquerade" in rules(first.host)
    ping = site.ping()

    first.kill()
    alice.host.wait_until(lambda: site.gateway() == "second", "the second is used")
    first.start(*site.route(0)).wait_until_connected()
    alice.host.wait_until(lambda: site.gateway() == "first", "the first is used again")

    first.host.run(["ip", "link", "set", "eth1", "down"])
    alice.host.wait_until(lambda: site.gateway() == "second", "the LAN is known dead")
    assert "route-network-dead" in [each["code"] for each in first.status()["health"]]
    first.host.run(["ip", "link", "set", "eth1", "up"])
    alice.host.wait_until(lambda: site.gateway() == "first", "the LAN lives again")
    count = len(answered(ping)) + 20
    alice.host.wait_until(lambda: len(answered(ping)) > count, "pings are answered")
    lost = missing(ping)

    first.meshwg("down")
    assert first.wait_for_end() == 0
    assert site.gateway() == "second"
    count = len(answered(ping)) + 20
    alice.host.wait_until(lambda: len(answered(ping)) > count, "pings are answered")
    ping.send_signal(signal.SIGINT)
    ping.wait()
    assert missing(ping) == lost
    assert leftovers(first.host) == []
    assert rules(first.host) == ""
    assert "does not answer" in alice.log()


def route(printer: Host, number: int) -> tuple[str, str]:
    """Return the options of a router that probes the printer, the first preferred."""
    probe, priority = printer.address(4), 50 + number
    return "--route", f"{SITE},probe={probe},priority={priority}"


def answered(ping: Process) -> set[int]:
    """Return the numbers of the pings that were answered."""
    found = re.findall(r"bytes from .*icmp_seq=(\d+)", ping.output())
    return {int(number) for number in found}


def missing(ping: Process) -> set[int]:
    """Return the numbers of the others, up to the last that was answered."""
    return set(range(1, max(answered(ping)))) - answered(ping)


def rules(host: Host) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout
