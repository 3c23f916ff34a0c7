"""The node's small commands, with the real programs."""

import json
import signal
from collections.abc import Iterator

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.meshes import (
    MESHWG,
    Coordinator,
    Json,
    Member,
    leftovers,
)

pytestmark = pytest.mark.netns

DROP_ECHOES = """
table inet far-end {
  chain input { type filter hook input priority filter; icmp type echo-request drop; }
}
"""


FORWARD_NOTHING = """
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""


class Pair:
    """Two members that reach each other."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.coordinator = Coordinator.on_the_internet(lab)
        self.token = self.coordinator.token(reusable=True, hub=True)
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


def test_a_node_stays_down_over_restarts_until_it_is_told_to_be_up(
    pair: Pair,
) -> None:
    bob = pair.bob
    addresses = bob.addresses
    bob.meshwg("down")
    assert bob.wait_for_end() == 0

    for _ in range(2):
        bob.start().wait_until(is_down, "bob is down")
        assert leftovers(bob.host) == ["/run/meshwg/meshwg.sock"]
        pair.alice.wait_until_sees("bob", online=False)
        assert "'meshwg up' connects it" in bob.meshwg("status").stdout
        refused = bob.meshwg("ping", "alice", check=False)
        assert (refused.returncode, refused.stderr) == (
            1,
            "meshwg: This node is down: 'meshwg up' connects it\n",
        )
        assert bob.process is not None
        assert bob.process.stop() == 0

    bob.start().wait_until(is_down, "bob is down")
    said = bob.meshwg("up").stdout
    assert said == f"bob is up: {', '.join(addresses)}\n"
    bob.reaches(pair.alice)
    assert bob.process is not None
    assert bob.process.stop() == 0
    bob.start().wait_until_connected()


def test_names_and_addresses_are_told(pair: Pair) -> None:
    alice, bob = pair.alice, pair.bob
    assert f"This node is alice: {', '.join(alice.addresses)}" in alice.log()
    assert alice.meshwg("ip", "bob").stdout.split() == list(bob.addresses)
    whose = json.loads(alice.meshwg("whois", bob.addresses[1], "--json").stdout)
    assert whose["name"] == "bob"
    status = alice.host.run([*MESHWG, "status"], env={"COLUMNS": "80"}).stdout
    assert max(map(len, status.splitlines())) <= 80


def test_a_report_for_others_has_no_secrets(pair: Pair) -> None:
    text = pair.alice.meshwg("bugreport").stdout
    assert '"name": "bob"' in text
    key = (pair.alice.state_dir / "node.key").read_text().strip()
    for secret in (key, pair.token, pair.alice.status()["self"]["public_key"]):
        assert secret not in text


def test_who_leaves_is_no_member_any_more(pair: Pair) -> None:
    carol = Member(pair.lab.add_host("carol", pair.lab.internet)).join(pair.token)
    pair.alice.wait_until_sees("bob", "carol")

    said = carol.host.run(
        [*MESHWG, "leave", "--control-socket", carol.options[-1]]
    ).stdout

    assert said == "This node has left its mesh.\n"
    assert carol.wait_for_end() == 0
    assert leftovers(carol.host) == []
    assert [each.name for each in carol.state_dir.iterdir()] == ["lock"]
    pair.alice.wait_until(
        lambda status: {peer["name"] for peer in status["peers"]} == {"bob"},
        "carol is no member",
    )
    assert set(pair.coordinator.nodes()) == {"alice", "bob"}
    assert carol.try_to_start().returncode == 4


def test_what_a_killed_hub_left_is_undone(pair: Pair) -> None:
    host = pair.lab.add_host("hub", pair.lab.internet)
    # What goes between two other interfaces is dropped, and in a firewall that drops
    # what is forwarded, the mesh's is accepted.
    host.attach(pair.lab.add_switch("cable", "192.168.77.0/24"), "eth1")
    host.run(["nft", "-f", "-"], stdin=FORWARD_NOTHING)
    before = leftovers(host, "/run/nothing"), rules(host)
    hub = Member(host)
    hub.join(pair.token, "--hub")
    what = ("counter drop", 'comment "meshwg-meshwg0"')
    host.wait_until(
        lambda: all(each in rules(host) for each in what), "it forwards what it should"
    )
    hub.kill()
    assert hub.process is not None
    hub.process.wait()
    assert leftovers(host, hub.options[-1]) != before[0]

    cleanup = [*MESHWG, "cleanup", "--state-dir", str(hub.state_dir)]
    said = host.run(cleanup).stdout

    assert "forwarding" in said
    assert (leftovers(host, "/run/nothing"), rules(host)) == before
    switch = host.run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout
    assert switch == "0\n"
    assert host.run(cleanup).stdout == "There is nothing to undo.\n"


def rules(host: Host) -> str:
    return host.run(["nft", "--stateless", "list", "ruleset"]).stdout


def is_down(status: Json) -> bool:
    return bool(status["self"]["state"] == "down")
