"""Networks behind a node: hosts there know nothing of the mesh, and are in it."""

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.meshes import Coordinator, Member, leftovers

pytestmark = pytest.mark.netns

OFFICE, CELLAR = "10.77.1.0/24", "10.88.1.0/24"
FORWARDS_NOTHING = """
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""


def test_a_host_behind_a_node_and_a_member_reach_each_other(lab: Lab) -> None:
    settings = lab.directory / "coordinator.toml"
    settings.write_text(f'approve_routes = ["{OFFICE}"]\n')
    coordinator = Coordinator.on_the_internet(lab, "--config", str(settings))
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    gateway = Member(lab.add_host("gateway", lab.internet))
    printer, boiler = (
        behind(gateway.host, lab, *each)
        for each in (("eth1", "printer", OFFICE), ("eth2", "boiler", CELLAR))
    )
    gateway.host.run(["nft", "-f", "-"], stdin=FORWARDS_NOTHING)
    before = rules(gateway.host)

    gateway.join(token, "--route", OFFICE)

    alice.host.ping(printer.address(4))
    printer.ping(alice.addresses[0])
    assert alice.status()["health"] == gateway.status()["health"] == []
    # Nobody asked for more.
    assert not answers(alice.host, boiler.address(4))
    assert not answers(boiler, alice.addresses[0])

    gateway.meshwg("down")
    assert gateway.wait_for_end() == 0
    assert leftovers(gateway.host) == ["table", "ip", "filter"]
    assert rules(gateway.host) == before
    assert switch(gateway.host) == "0"


def test_what_is_offered_later_is_forwarded_to_once_it_is_approved_and_undone(
    lab: Lab,
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice, gateway = (
        Member(lab.add_host(name, lab.internet)).join(token)
        for name in ("alice", "gateway")
    )
    host = gateway.host
    printer = behind(host, lab, "eth1", "printer", OFFICE)
    before = rules(host)

    gateway.meshwg("route", "add", OFFICE)
    coordinator.command("route", "list")
    assert (rules(host), switch(host)) == (before, "0")
    coordinator.command("route", "approve", "gateway", OFFICE)
    alice.host.ping(printer.address(4))
    assert switch(host) == "1"

    for undo, again in (
        (("route", "remove", OFFICE), ("route", "add", OFFICE)),
        (("down",), ()),
    ):
        gateway.meshwg(*undo)
        host.wait_until(
            lambda: (rules(host), switch(host)) == (before, "0"), "all is undone"
        )
        assert not answers(alice.host, printer.address(4))
        if again:
            gateway.meshwg(*again)
            alice.host.ping(printer.address(4))
    assert gateway.wait_for_end() == 0
    assert leftovers(host) == []


def test_an_approval_that_is_taken_back_ends_the_forwarding(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    gateway = Member(lab.add_host("gateway", lab.internet))
    gateway.join(coordinator.token(), "--route", OFFICE)
    before = rules(gateway.host), "0"
    assert (rules(gateway.host), switch(gateway.host)) == before
    for decision, is_on in (("approve", True), ("refuse", False), ("approve", True)):
        coordinator.command("route", decision, "gateway", OFFICE)
        wait_for_switch(gateway.host, str(int(is_on)))
        assert (OFFICE in rules(gateway.host)) is is_on


def wait_for_switch(host: Host, value: str) -> None:
    host.wait_until(lambda: switch(host) == value, f"forwarding is {value}")


def behind(gateway: Host, lab: Lab, interface: str, name: str, network: str) -> Host:
    """Return a host on another cable of a machine, which is its way to everywhere."""
    cable = lab.add_switch(f"{name}s-cable", network)
    attachment = gateway.attach(cable, interface)
    host = lab.add_host(name, cable)
    via = next(each for each in attachment.addresses if ":" not in each)
    host.run(["ip", "route", "replace", "default", "via", via])
    return host


def answers(host: Host, address: str) -> bool:
    """Send two echo requests."""
    request = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", address]
    return host.run(request, check=False).returncode == 0


def rules(host: Host) -> str:
    return host.run(["nft", "--stateless", "list", "ruleset"]).stdout


def switch(host: Host) -> str:
    return host.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip()
