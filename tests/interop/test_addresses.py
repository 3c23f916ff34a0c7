"""Machines with more addresses than anybody wants to try."""

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import PORT_RESTRICTED
from tests.interop.meshes import Coordinator, Json, Member

pytestmark = pytest.mark.netns


def test_bridges_and_hundreds_of_addresses_hide_nobody_behind_a_nat(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice, bob = (
        Member(
            lab.add_host(
                name, lab.add_router(f"{name}-home", PORT_RESTRICTED), ipv6=False
            )
        )
        for name in ("alice", "bob")
    )
    add_bridges(alice.host, bridges=20, addresses=1)
    add_bridges(bob.host, bridges=20, addresses=15)
    for member in (alice, bob):
        member.join(token)
        member.wait_until(
            lambda status: bool((status["self"]["nat"] or {}).get("public")),
            "its public address is known",
        )

    alice.ping(bob, "-i", "0.2")
    for member in (alice, bob):
        member.wait_until(is_punched, f"{member.name} is direct, and not by TCP")


def add_bridges(host: Host, *, bridges: int, addresses: int) -> None:
    """Give a host what it would have with as many networks for containers.

    Their addresses come before its own one, sorted as numbers.
    """
    lines = []
    for n in range(bridges):
        lines += [f"link add br{n} type bridge", f"link set br{n} up"]
        lines += [f"address add 10.{n}.{m}.1/24 dev br{n}" for m in range(addresses)]
    batch = host.write_file("bridges", "\n".join(lines) + "\n")
    host.run(["ip", "-batch", str(batch)])


def is_punched(status: Json) -> bool:
    method = status["peers"][0]["path"]["method"]
    return method in ("reflexive", "peer-reflexive")
