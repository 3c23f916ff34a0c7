"""Real nodes without a way for datagrams between them, and what strangers may do."""

import sys
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import OFFICE, UDP_BLOCKED
from tests.interop.meshes import Coordinator, Json, Member

pytestmark = pytest.mark.netns

FLOOD = """
import socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
sockets = []
for number in range(200):
    sock = socket.socket()
    sock.settimeout(1)
    try:
        sock.connect((host, port))
        sock.send((b"GET / HTTP/1.1", bytes([64, 0, 255, 255]), bytes(1))[number % 3])
        sockets.append(sock)
    except OSError:
        sock.close()
time.sleep(5.5)
still = 0
for sock in sockets:
    sock.setblocking(False)
    try:
        still += sock.recv(1) != b""
    except BlockingIOError:
        still += 1
    except OSError:
        pass
print(still)
"""
"""Opens many connections, sends rubbish, and tells how many of them stay open."""


def test_without_datagrams_nodes_talk_over_streams_and_go_on_after_a_restart(
    lab: Lab,
) -> None:
    settings = lab.directory / "coordinator.toml"
    settings.write_text('approve_routes = ["0.0.0.0/0"]\n')
    coordinator = Coordinator.on_the_internet(lab, "--config", str(settings))
    token = coordinator.token(reusable=True)
    public = Member(lab.add_host("public", lab.internet))
    hotel = Member(lab.add_host("hotel", lab.add_router("hotel-router", UDP_BLOCKED)))
    first, second = (
        Member(lab.add_host(name, lab.add_router(f"{name}-router", OFFICE)))
        for name in ("first", "second")
    )
    for member in (public, hotel, first, second):
        member.join(token)
    # What the nodes' own packets need leads into the mesh; they are not to follow.
    around = str(ip_network(f"{public.host.address(4)}/16", strict=False))
    announcer = Member(lab.add_host("announcer", lab.internet))
    announcer.join(token, "--route", around)

    pairs = [(hotel, public), (first, second), (hotel, first)]
    for one, other in pairs:
        one.wait_until(partial(sees, other.name), f"{one.name} sees {other.name}")
        one.reaches(other)
        for member, peer in ((one, other), (other, one)):
            member.wait_until(is_on_stream(peer), f"{member.name} is on a stream")
        assert unmarked_streams(one.host) == unmarked_streams(other.host) == []

    second.kill()
    second.wait_for_end()
    second.start().wait_until_connected()
    first.reaches(second)
    for member, peer in ((first, second), (second, first)):
        member.wait_until(is_on_stream(peer), f"{member.name} is on a stream again")


def test_strangers_at_the_port_are_few_at_a_time_and_soon_gone(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    bob = Member(lab.add_host("bob", lab.add_router("hotel", UDP_BLOCKED))).join(token)
    bob.reaches(alice)
    alice.wait_until(is_on_stream(bob), "alice is on a stream")
    stranger = lab.add_host("stranger", lab.internet)
    before = memory(alice)

    flood = stranger.popen(
        [sys.executable, "-c", FLOOD, alice.host.address(4), str(port_of(alice))]
    )
    bob.reaches(alice)
    assert flood.wait(timeout=60) == 0

    assert flood.output().split() == ["0"]
    drops = alice.status()["counters"]["drops"]
    assert drops["stream-crowded"] > 100
    assert drops["stream-malformed"] > 0
    assert memory(alice) - before < 4 << 20
    assert is_on_stream(bob)(alice.status())
    bob.reaches(alice)


def is_on_stream(peer: Member) -> Callable[[Json], bool]:
    """Return a test of a status: whether a peer is reached over TCP."""

    def holds(status: Json) -> bool:
        return any(
            each["name"] == peer.name and each["path"]["method"] == "tcp"
            for each in status["peers"]
        )

    return holds


def sees(name: str, status: Json) -> bool:
    return any(each["name"] == name and each["online"] for each in status["peers"])


def unmarked_streams(host: Host) -> list[str]:
    """Return the TCP sockets of a node that send what is not marked."""
    lines = host.run(["ss", "-tanpe"]).stdout.splitlines()
    own = [line for line in lines if is_outside(line)]
    assert any("LISTEN" in line for line in own)
    assert any("ESTAB" in line for line in own)
    return [line for line in own if "fwmark:" not in line]


def port_of(member: Member) -> int:
    """Return the port at which a node accepts streams."""
    lines = member.host.run(["ss", "-tlnp"]).stdout.splitlines()
    ports = {
        int(line.split()[3].rpartition(":")[2]) for line in lines if is_outside(line)
    }
    (port,) = ports
    return port


def is_outside(line: str) -> bool:
    """Tell whether a socket is a node's, and not that of names inside the mesh."""
    return "python" in line and not line.split()[3].endswith(":53")


def memory(member: Member) -> int:
    """Return the bytes of a node's memory that are its own."""
    assert member.process is not None
    rollup = member.host.run(["cat", f"/proc/{member.process.pid}/smaps_rollup"]).stdout
    found = next(line for line in rollup.splitlines() if "Private_Dirty" in line)
    return int(found.split()[1]) << 10
