"""A hub and router beside real firewalls that forward nothing."""

import os
from collections.abc import Callable, Iterator

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import OFFICE
from tests.interop.firewalls import PORT, Docker, Dockerd, Firewalld, Legacy, Ufw
from tests.interop.meshes import Coordinator, Member, leftovers
from tests.interop.test_routes import behind

pytestmark = pytest.mark.netns

SITE = "10.77.1.0/24"
OtherFirewall = Ufw | Firewalld | Docker | Dockerd | Legacy
KINDS: dict[str, Callable[[Host], OtherFirewall]] = {
    "ufw": Ufw,
    "firewalld": Firewalld,
    "docker": Docker,
    "dockerd": Dockerd,
    "legacy": Legacy,
}


@pytest.fixture
def gateway(lab: Lab) -> Host:
    return lab.add_host("gateway", lab.internet)


@pytest.fixture(params=KINDS)
def firewall(request: pytest.FixtureRequest, gateway: Host) -> Iterator[OtherFirewall]:
    running = KINDS[request.param](gateway)
    yield running
    running.close()


def test_a_hub_and_router_forwards_beside_it_also_when_it_is_loaded_again(
    firewall: OtherFirewall, gateway: Host, lab: Lab
) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    token = coordinator.token(reusable=True)
    printer = behind(gateway, lab, "eth1", "printer", SITE)
    before = rules(gateway)
    hub = Member(gateway)
    programs = f"{gateway.directory / 'programs'}:{os.environ['PATH']}"
    options = ("--hub", "--route", SITE, "--listen-port", str(PORT))
    hub.start("--join", token, *options, env={"PATH": programs})
    alice, bob = (
        Member(lab.add_host(name, lab.add_router(f"{name}-nat", OFFICE))).join(token)
        for name in ("alice", "bob")
    )
    coordinator.command("node", "approve", "gateway", "--hub")
    coordinator.command("route", "approve", "gateway", SITE)
    alice.wait_until_sees("gateway", "bob")
    bob.wait_until_sees("gateway", "alice")

    alice.reaches(bob)
    alice.host.ping(printer.address(4))
    printer.ping(alice.addresses[0])
    assert [each["code"] for each in hub.status()["health"]] == []

    firewall.reload()
    alice.host.ping(printer.address(4))
    alice.reaches(bob)

    hub.meshwg("down")
    assert hub.wait_for_end() == 0
    assert "meshwg" not in rules(gateway)
    assert rules(gateway).count("chain") == before.count("chain")
    assert "meshwg" not in " ".join(leftovers(gateway))


def rules(host: Host) -> str:
    """Return all rules, those of iptables-legacy as well where it is used."""
    legacy = host.directory / "programs" / "iptables-legacy"
    shown = host.run(["nft", "--stateless", "list", "ruleset"]).stdout
    if legacy.exists():
        shown += host.run([str(legacy), "-S"]).stdout
    return shown
