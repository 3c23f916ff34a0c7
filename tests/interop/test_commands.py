"""The node's small commands, with the real programs."""

import signal
from collections.abc import Iterator

import pytest

from netlab.lab import Lab
from tests.interop.meshes import MESHWG, Coordinator, Member

pytestmark = pytest.mark.netns

DROP_ECHOES = """
table inet far-end {
  chain input { type filter hook input priority filter; icmp type echo-request drop; }
}
"""


class Pair:
    """Two members that reach each other."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.coordinator = Coordinator.on_the_internet(lab)
        self.token = self.coordinator.token(reusable=True)
        self.alice, self.bob = (
            Member(lab.add_host(name, lab.internet)).join(self.token)
            for name in ("alice", "bob")
        )


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Lab(title="commands") as lab:
        yield Pair(lab)


def test_ping_tells_a_firewall_at_the_far_end_from_a_bad_path(pair: Pair) -> None:
    alice, bob = pair.alice, pair.bob
    answered = alice.meshwg("ping", "bob")
    assert ", 0% lost" in answered.stdout

    bob.host.run(["nft", "-f", "-"], stdin=DROP_ECHOES)
    dropped = alice.meshwg("ping", "bob", "-c", "2", check=False)

    assert dropped.returncode == 1
    assert "(below IP: direct " in dropped.stdout
    assert "The direct path answers below IP, and the tunnel's packets arrive" in (
        " ".join(dropped.stdout.split())
    )

    pinging = alice.host.popen([*MESHWG, "ping", "bob"], log="interrupted.log")
    pinging.wait_for_line("no answer")
    pinging.send_signal(signal.SIGINT)
    assert pinging.wait(timeout=10) == 1
    assert " sent, 0 received, 100% lost" in pinging.output()
    bob.host.run(["nft", "delete", "table", "inet", "far-end"])
