"""The mesh of real programs: nodes join, meet, leave, are removed and come back."""

import re
from functools import partial

import pytest

from netlab.lab import Lab
from tests.interop.meshes import Coordinator, Member, file_holding, leftovers

pytestmark = pytest.mark.netns


def test_nodes_join_with_one_token_talk_leave_and_are_removed(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob, carol = members = add_members(lab, "alice", "bob", "carol")
    join(members, coordinator.token("--reusable"))
    for member, other in ((alice, bob), (bob, carol), (carol, alice)):
        member.reaches(other)

    carol.meshwg("down")

    assert carol.wait_for_end() == 0
    assert leftovers(carol.host) == []
    for member in (alice, bob):
        member.wait_until_sees("carol", online=False)

    coordinator.command("node", "remove", "bob")

    assert bob.wait_for_end() == 1
    assert "This node was removed from the mesh." in bob.log()
    assert leftovers(bob.host) == []
    alice.wait_until(lambda status: len(status["peers"]) == 1, "bob is gone")
    assert "Refused" not in alice.log()

    again = bob.try_to_start()
    assert again.returncode == 1
    assert "is no member of the mesh; join with a token" in again.stderr
    assert set(coordinator.nodes()) == {"alice", "carol"}


def test_a_coordinators_restart_is_invisible_to_traffic(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob = members = add_members(lab, "alice", "bob")
    join(members, coordinator.token("--reusable"))
    alice.reaches(bob)

    pings = alice.ping(bob, "-i", "0.05", "-c", "100", "-q")
    coordinator.stop()
    alice.wait_until_offline()
    coordinator.start()
    for member in members:
        member.wait_until_connected()

    assert pings.wait(timeout=30) == 0
    assert re.search(r"100 received, 0% packet loss", pings.output())


def test_a_node_starts_from_its_cache_while_the_coordinator_is_away(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob = members = add_members(lab, "alice", "bob")
    join(members, coordinator.token("--reusable"))
    addresses = alice.addresses
    alice.reaches(bob)
    alice.wait_until_saved("bob")

    coordinator.stop()
    alice.kill()
    alice.start()

    alice.wait_until(
        lambda status: status["self"]["addresses"] == list(addresses), "it is back"
    )
    alice.reaches(bob)
    bob.reaches(alice)
    error = alice.status()["self"]["coordinator"]["error"]
    assert error.startswith("The coordinator at http://")


def test_a_coordinator_that_is_killed_forgets_nobody_it_has_acknowledged(
    lab: Lab,
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token("--reusable")
    members = add_members(lab, "alice", "bob", "carol", "dave", "erin")
    for member in members:
        member.start("--join", token)
    acknowledged: dict[str, tuple[str, str]] = {}

    for wanted in (1, 3):
        coordinator.host.wait_until(
            partial(have_joined, members, wanted), f"{wanted} nodes have joined"
        )
        coordinator.kill()
        for member in members:
            if member.has_joined():
                acknowledged.setdefault(member.name, member.addresses)
        coordinator.start()
    for member in members:
        member.wait_until_connected()

    assert len(acknowledged) >= 3
    listed = {name: tuple(n["addresses"]) for name, n in coordinator.nodes().items()}
    assert set(listed) == {member.name for member in members}
    assert acknowledged.items() <= listed.items()
    everybody = {member.name for member in members}
    for member in members:
        member.wait_until_sees(*everybody - {member.name})


def test_an_ephemeral_node_vanishes_when_it_leaves(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, runner = add_members(lab, "alice", "runner")
    alice.join(coordinator.token())
    runner.join(coordinator.token("--ephemeral"))
    alice.wait_until_sees("runner")

    runner.meshwg("down")

    alice.wait_until(lambda status: status["peers"] == [], "the runner is forgotten")
    assert set(coordinator.nodes()) == {"alice"}


def test_a_node_that_falls_silent_is_soon_offline(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob = members = add_members(lab, "alice", "bob")
    join(members, coordinator.token("--reusable"))

    bob.host.set_link(up=False)

    alice.wait_until_sees("bob", online=False)
    bob.host.set_link(up=True)
    alice.wait_until_sees("bob")
    alice.reaches(bob)


def test_a_taken_name_gets_a_suffix_and_its_owner_is_told(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token("--reusable")
    first = Member(lab.add_host("one", lab.internet), "laptop").join(token)
    second = Member(lab.add_host("two", lab.internet), "laptop").join(token)

    assert first.status()["self"]["name"] == "laptop"
    assert second.status()["self"]["name"] == "laptop-2"
    notice = second.status()["self"]["notice"]
    assert "called laptop-2 in the mesh: laptop belongs to another" in notice
    assert notice in second.log()
    first.wait_until_sees("laptop-2")


def test_two_machines_with_one_key_are_told_so(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token("--reusable")
    original, clone, bob = add_members(lab, "original", "clone", "bob")
    original.join(token)
    bob.join(token)
    clone.state_dir.mkdir(mode=0o700)
    key = (original.state_dir / "node.key").read_text()
    (clone.state_dir / "node.key").write_text(key)

    clone.join(token)

    original.wait_until_offline()
    error = original.status()["self"]["coordinator"]["error"]
    assert error == "Another connection uses this node's key; a key is for one machine"
    assert len(coordinator.nodes()) == 2
    assert clone.status()["self"]["addresses"] == original.status()["self"]["addresses"]


def test_secrets_stay_in_the_state_directory(lab: Lab) -> None:
    lab.keep_files = False
    coordinator = Coordinator.on_the_internet(lab, "--log-level", "debug")
    token = coordinator.token("--reusable")
    alice, bob = add_members(lab, "alice", "bob")
    for member in (alice, bob):
        member.join(token, "--log-level", "debug")
    alice.reaches(bob)
    status = alice.meshwg("status", "--json").stdout + alice.meshwg("status").stdout
    key = (alice.state_dir / "node.key").read_text().strip()

    assert file_holding(lab.directory, key) == ["alice/state/node.key"]
    assert file_holding(lab.directory, token) == []
    assert key not in status
    assert token not in status


def have_joined(members: list[Member], count: int) -> bool:
    return sum(member.has_joined() for member in members) >= count


def add_members(lab: Lab, *names: str) -> list[Member]:
    return [Member(lab.add_host(name, lab.internet)) for name in names]


def join(members: list[Member], token: str) -> None:
    """Let nodes join together and see each other."""
    for member in members:
        member.start("--join", token)
    names = {member.name for member in members}
    for member in members:
        member.wait_until_connected()
        member.wait_until_sees(*names - {member.name})
