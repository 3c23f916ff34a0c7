"""Real Linux routers without a firewall on the WAN side, which spoil ports."""

import time

import pytest

from netlab.lab import Lab
from netlab.presets import PORT_RESTRICTED, SLOPPY, Preset
from tests.interop.meshes import Coordinator, Member

pytestmark = pytest.mark.netns

CALLS = 3
"""Seconds for which a node is called that is not there."""


@pytest.mark.parametrize(
    "other", [SLOPPY, PORT_RESTRICTED], ids=lambda preset: preset.name
)
def test_a_node_that_was_called_before_it_started_gets_a_direct_path(
    lab: Lab, other: Preset
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob = (
        Member(lab.add_host(name, lab.add_router(f"{name}-home", preset)))
        for name, preset in (("alice", SLOPPY), ("bob", other))
    )
    token = coordinator.token(reusable=True)
    for member in (alice, bob):
        member.join(token)
        member.wait_until(
            lambda status: bool((status["self"]["nat"] or {}).get("public")),
            "its public address is known",
        )
    bob.wait_until_saved_at(alice.status()["self"]["nat"]["public"])

    address = alice.addresses[0]
    alice.kill()
    ping = bob.host.popen(["ping", "-n", "-i", "0.2", address])
    time.sleep(CALLS)
    alice.start()

    for member in (alice, bob):
        member.wait_until(
            # Alice may have been killed before she saved that there is a Bob.
            lambda status: (
                [each["path"]["kind"] for each in status["peers"]] == ["direct"]
            ),
            f"{member.name} has a direct path",
        )
    ping.stop()
