"""What real nodes make of another key under a known name, and of a coordinator's."""

import json
from collections.abc import Iterator

import pytest

from meshwg.keys import format_key
from meshwg.runtime.state import MEMBERSHIP_FILE
from netlab.lab import Lab
from tests.interop.meshes import COORDINATOR, PATIENCE, Coordinator, Json, Member

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(title="trust") as made:
        yield made


def test_another_key_under_a_known_name_waits_for_the_user(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice, bob = (Member(lab.add_host(n, lab.internet)).join(token) for n in "ab")
    alice.wait_until_sees("b")
    alice.reaches(bob)

    # The coordinator gives bob's name to whoever has another key.
    said = coordinator.host.run(remove(coordinator, "b")).stderr
    assert "trust accept b" in said
    assert bob.wait_for_end() == 6
    other = Member(bob.host, "b", suffix="-of-another").join(token)
    alice.wait_until(lambda status: is_held(status, "b"), "another b is held")

    complaint = next(c for c in alice.status()["health"] if c["code"] == "peer-held")
    assert "'meshwg trust accept b'" in complaint["mend"]
    request = ["ping", "-n", "-c", "1", "-W", "1", other.addresses[0]]
    assert alice.host.run(request, check=False).returncode != 0
    refused = alice.meshwg("ping", "b", "-c", "1", check=False)
    assert refused.returncode == 1
    assert "b is held" in refused.stderr
    assert "held" in alice.meshwg("status").stdout

    listed = json.loads(alice.meshwg("trust", "list", "--json").stdout)
    (held,) = listed["held"]
    assert held["public_key"] == other.status()["self"]["public_key"]
    wrong = format_key(bytes(32))
    assert alice.meshwg("trust", "accept", "b", "--key", wrong, check=False).returncode

    # Also after a restart, and without the netmap.
    assert alice.process is not None
    assert alice.process.stop() == 0
    (alice.state_dir / "netmap.json").unlink()
    alice.start()
    alice.wait_until(lambda status: is_held(status, "b"), "another b is still held")

    alice.meshwg("trust", "accept", "b", "--key", held["public_key"])
    alice.reaches(other)
    assert alice.status()["health"] == []


def test_nodes_follow_their_coordinator_to_another_key(lab: Lab) -> None:
    coordinator = Coordinator(lab.add_host("rotated", lab.internet))
    coordinator.start()
    token = coordinator.token(reusable=True)
    members = [Member(lab.add_host(n, lab.internet)).join(token) for n in ("c", "d")]
    away = Member(lab.add_host("e", lab.internet)).join(token)
    assert away.process is not None
    assert away.process.stop() == 0

    new = coordinator.command("key", "rotate")["public_key"]

    coordinator.host.wait_until(
        lambda: all(knows_only(member, new) for member in members),
        "all nodes know only the new key",
        PATIENCE,
    )
    members[0].reaches(members[1])
    coordinator.command("key", "retire")
    coordinator.stop()
    coordinator.start()
    for member in members:
        member.wait_until_connected()

    # Who was away all the time does not know it, and is told what helps.
    away.start()
    away.wait_until(
        lambda status: "does not own the key" in str(status["self"]["coordinator"]),
        "the coordinator is a stranger",
    )
    fresh = coordinator.token()
    assert "--new-key" in away.meshwg("join", fresh, check=False).stderr
    away.meshwg("join", fresh, "--new-key")
    away.wait_until_connected()
    away.reaches(members[0])


def remove(coordinator: Coordinator, name: str) -> list[str]:
    where = ("--data-dir", str(coordinator.data_dir))
    return [*COORDINATOR, "node", "remove", name, *where]


def is_held(status: Json, name: str) -> bool:
    return any(peer["held"] for peer in status["peers"] if peer["name"] == name)


def knows_only(member: Member, key: str) -> bool:
    """Tell whether the file of a membership has one key of the coordinator."""
    kept = json.loads((member.state_dir / MEMBERSHIP_FILE).read_text())
    return kept["coordinator_key"] == key and "former_key" not in kept
