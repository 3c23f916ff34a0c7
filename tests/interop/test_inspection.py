"""A router drops WireGuard's data and lets checks pass, as boxes that inspect do."""

import re

import pytest

from netlab.lab import Lab
from netlab.presets import PORT_RESTRICTED
from tests.interop.meshes import Coordinator, Json, Member

pytestmark = pytest.mark.netns

BOX = """\
table inet box {
    chain forward {
        type filter hook forward priority 0;
        meta l4proto udp @th,64,32 0x04000000 drop
    }
}
"""
"""Rules that drop data messages by how they begin. A relay's begin otherwise."""


def test_data_that_is_dropped_on_the_direct_path_goes_by_the_relay(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    home = lab.add_router("home", PORT_RESTRICTED)
    alice = Member(lab.add_host("alice", home))
    bob = Member(lab.add_host("bob", lab.internet))
    for member in (alice, bob):
        member.join(coordinator.token())
    alice.reaches(bob)
    for member in (alice, bob):
        member.wait_until(is_direct, f"{member.name} is direct")

    home.run(["nft", "-f", "-"], stdin=BOX)
    pings = alice.ping(bob, "-i", "0.2")

    for member in (alice, bob):
        member.wait_until(is_relayed_for_a_reason, f"{member.name} is relayed")
    after = alice.ping(bob, "-i", "0.1", "-c", "20", "-q")
    assert after.wait(timeout=30) == 0
    assert re.search(r"20 received, 0% packet loss", after.output())
    pings.stop()


def is_direct(status: Json) -> bool:
    return bool(status["peers"][0]["path"]["kind"] == "direct")


def is_relayed_for_a_reason(status: Json) -> bool:
    (peer,) = status["peers"]
    words = "The direct path answers checks but does not carry the tunnel's packets"
    return bool(peer["path"]["kind"] == "relay" and peer["reason"].startswith(words))
