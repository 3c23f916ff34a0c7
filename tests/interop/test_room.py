"""A carrier that lets a customer hold a hundred flows, and a neighbour on the line.

The neighbour asks a resolver from a new port again and again while a node of the same
home looks for a direct path by the birthday method.
"""

import sys
import time

import pytest

from meshwg.nattypes import Mapping, PortAllocation
from netlab.lab import Lab
from netlab.machine import Host
from netlab.nat import Behaviour
from netlab.presets import PORT_RESTRICTED
from netlab.process import Process
from tests.interop.meshes import Coordinator, Member

pytestmark = pytest.mark.netns

CARRIER = Behaviour(
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
    ports=PortAllocation.RANDOM,
    lifetime=10,
    flows=100,
)
WATCHED = 15.0
"""Seconds from the first packet to a peer: an attempt, and all that it opened has been
forgotten."""

REFUSED = 12
"""Questions of about sixty that the neighbour may lose while the limit is touched; with
all sockets at once it was more than half of them."""

RESOLVER = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", 53))
print("ready", flush=True)
while True:
    sock.sendto(*sock.recvfrom(512))
"""
NEIGHBOUR = """
import socket, sys, time
while True:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.4)
        sock.sendto(b"where?", (sys.argv[1], 53))
        try:
            sock.recv(512)
            print("answered", flush=True)
        except TimeoutError:
            print("refused", flush=True)
    time.sleep(0.5)
"""


def test_a_birthday_attempt_leaves_room_for_the_neighbours_flows(lab: Lab) -> None:
    home = Home(lab)
    first, second = (
        Member(lab.add_host(name, lab.add_router(f"{name}-home", PORT_RESTRICTED)))
        for name in ("first", "second")
    )
    for member in (first, second):
        member.join(home.token)
    before = home.refused()
    for peer in (first, second):
        home.call(peer)
        assert home.refused() - before <= REFUSED, "and the second attempt knows"
        assert "birthday" in home.tried(peer)


class Home:
    """A node and a neighbour behind a home router, which is a customer of a carrier."""

    def __init__(self, lab: Lab, *options: str) -> None:
        self.token = Coordinator.on_the_internet(lab).token(reusable=True)
        carrier = lab.add_router("carrier", CARRIER, subnet4="100.64.9.0/24")
        home = lab.add_router("home", Behaviour(kernel=True), uplink=carrier)
        self.node = Member(lab.add_host("node", home))
        self.node.join(self.token, *options)
        self.node.wait_until(
            lambda status: bool((status["self"]["nat"] or {}).get("public")),
            "its public address is known",
        )
        resolver = lab.add_host("resolver", lab.internet)
        run_python(resolver, RESOLVER).wait_for_line("ready")
        neighbour = lab.add_host("neighbour", home)
        self._asking = run_python(neighbour, NEIGHBOUR, resolver.address(4))
        self._asking.wait_for_line("answered")

    def call(self, peer: Member) -> None:
        """Send packets to a peer for a while."""
        ping = self.node.ping(peer, "-i", "0.2")
        time.sleep(WATCHED)
        ping.stop()

    def refused(self) -> int:
        """Return how many questions of the neighbour were not answered so far."""
        return self._asking.output().count("refused")

    def tried(self, peer: Member) -> list[str]:
        """Return the methods by which the node tried to reach a peer."""
        attempts = self.node.peers()[peer.name]["attempts"]
        return [attempt["method"] for attempt in attempts]


def run_python(host: Host, program: str, *arguments: str) -> Process:
    return host.popen([sys.executable, "-c", program, *arguments])
