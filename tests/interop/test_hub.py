"""Hub and spoke: two nodes that cannot reach each other in any other way."""

import shlex
import socket
from dataclasses import dataclass

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import OFFICE
from tests.interop.meshes import Coordinator, Member, leftovers

pytestmark = pytest.mark.netns

HUB_MTU = 1300
SITE = "10.77.1.0/24"
DOCKER = """
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
table ip6 filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""
CHAIN = ("ip", "filter", "FORWARD")
IPV4_AND_TCP_HEADERS = 40
SWITCHES = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


@dataclass
class Star:
    """Two spokes behind firewalls that cannot be punched, and a public hub."""

    hub: Member
    alice: Member
    bob: Member


@pytest.fixture
def star(lab: Lab) -> Star:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    token = coordinator.token(reusable=True, hub=True)
    hub = Member(lab.add_host("hub", lab.internet))
    alice, bob = (
        Member(lab.add_host(name, lab.add_router(f"{name}s-office", OFFICE)))
        for name in ("alice", "bob")
    )
    hub.start("--join", token, "--hub", "--mtu", str(HUB_MTU))
    for spoke in (alice, bob):
        spoke.start("--join", token)
    everybody = (hub, alice, bob)
    for member in everybody:
        member.wait_until_connected()
        member.wait_until_sees(*{each.name for each in everybody} - {member.name})
    return Star(hub, alice, bob)


def test_spokes_meet_at_the_hub(star: Star) -> None:
    hub, alice, bob = star.hub, star.alice, star.bob

    alice.reaches(bob)

    alice.wait_until(
        lambda status: any(
            peer["name"] == "bob" and peer["reason"].startswith("The hub hub forwards")
            for peer in status["peers"]
        ),
        "an echo has come back from bob by the hub",
    )
    to_bob = alice.peers()["bob"]
    assert (to_bob["path"]["kind"], to_bob["path"]["via"]) == ("relay", "hub")
    assert alice.peers()["hub"]["path"]["kind"] == "direct"
    assert segment_limit(alice, bob) <= HUB_MTU - IPV4_AND_TCP_HEADERS
    assert switches(hub.host) == ["1", "1"]

    hub.meshwg("down")

    assert hub.wait_for_end() == 0
    assert leftovers(hub.host) == []
    assert switches(hub.host) == ["0", "0"]


def test_spokes_meet_beside_a_firewall_that_forwards_nothing(star: Star) -> None:
    hub, alice, bob = star.hub, star.alice, star.bob
    hub.host.run(["nft", "-f", "-"], stdin=DOCKER)

    alice.reaches(bob)

    assert "meshwg-meshwg0" in hub.host.run(["nft", "list", "chain", *CHAIN]).stdout
    hub.meshwg("down")
    assert hub.wait_for_end() == 0
    assert "meshwg" not in hub.host.run(["nft", "list", "ruleset"]).stdout


def test_spokes_meet_again_when_a_killed_hub_is_back(star: Star) -> None:
    hub, alice, bob = star.hub, star.alice, star.bob
    alice.reaches(bob)
    hub.kill()
    assert leftovers(hub.host) != []

    hub.start("--hub").wait_until_connected()

    alice.reaches(bob)
    hub.meshwg("down")
    assert leftovers(hub.host) == []


def test_a_killed_hub_that_returns_as_a_node_leaves_nothing_switched_on(
    star: Star,
) -> None:
    hub = star.hub
    wait_for_switches(hub.host, "1")
    hub.kill()

    hub.start().wait_until_connected()

    assert switches(hub.host) == ["0", "0"]
    hub.meshwg("down")
    assert leftovers(hub.host) == []


def test_nothing_is_switched_on_before_a_hub_is_approved_nor_after(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    host = lab.add_host("hub", lab.internet)
    hub = Member(host).join(coordinator.token(), "--hub")
    hub.wait_until(
        lambda status: [e["code"] for e in status["health"]] == ["hub-waiting"],
        "it knows that it is not approved",
    )
    assert switches(host) == ["0", "0"]
    assert host.run(["nft", "list", "tables"]).stdout == ""

    for decision, value in (("approve", "1"), ("refuse", "0")):
        coordinator.command("node", decision, "hub", "--hub")
        wait_for_switches(host, value)
    host.wait_until(
        lambda: host.run(["nft", "list", "tables"]).stdout == "", "the table is gone"
    )
    hub.meshwg("down")
    assert hub.wait_for_end() == 0
    assert leftovers(host) == []


def test_where_the_system_forbids_it_a_hub_does_not_start(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    host = lab.add_host("hub", lab.internet)
    command = Member(host).command("--join", coordinator.token(), "--hub")

    refused = host.run(forbidden(command), check=False)

    assert refused.returncode == 5
    said = "Forwarding cannot be switched on (Read-only file system): run the hub as"
    assert said in refused.stderr.splitlines()[-1]
    assert leftovers(host) == []


def test_where_the_system_forbids_it_a_router_says_so_and_changes_nothing(
    lab: Lab,
) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    router = Member(lab.add_host("router", lab.internet))
    options = ("--join", coordinator.token(), "--route", SITE)
    router.process = router.host.popen(
        forbidden(router.command(*options)), log="router.log"
    )
    router.wait_until_connected()
    coordinator.command("route", "approve", "router", SITE)

    router.wait_until(
        lambda status: [e["code"] for e in status["health"]] == ["route-not-forwarded"],
        "the router knows of the approval, and cannot follow it",
    )
    (complaint,) = router.status()["health"]
    assert "(Read-only file system)" in complaint["text"]
    assert router.host.run(["nft", "list", "tables"]).stdout == ""


def forbidden(command: list[str]) -> list[str]:
    """Return a command that runs where the system's settings cannot be changed."""
    place = "/proc/sys/net"
    script = f"mount --bind {place} {place}; mount -o remount,ro,bind {place}"
    return ["unshare", "--mount", "sh", "-c", f"{script}; exec {shlex.join(command)}"]


def wait_for_switches(host: Host, value: str) -> None:
    host.wait_until(lambda: switches(host) == [value, value], f"forwarding is {value}")


def segment_limit(client: Member, server: Member) -> int:
    """Return how many bytes a TCP segment from server to client may have."""
    address = server.addresses[0], 8000
    listener = server.host.call(lambda: socket.create_server(address))
    with listener, client.host.call(lambda: socket.create_connection(address)):
        accepted, _ = listener.accept()
        with accepted:
            return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def switches(host: Host) -> list[str]:
    """Return whether the system forwards IPv4 and IPv6."""
    return host.run(["sysctl", "-n", *SWITCHES]).stdout.split()
