"""The mesh of real programs: nodes join, meet, leave, are removed and come back."""

import json
import re
from functools import partial

import pytest

from netlab import coturn
from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import OFFICE, PORT_RESTRICTED
from netlab.process import Process
from tests.interop.meshes import Coordinator, Json, Member, leftovers
from tests.interop.relays import needs_coturn

pytestmark = pytest.mark.netns


def test_nodes_join_with_one_token_talk_leave_and_are_removed(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob, carol = members = add_members(lab, "alice", "bob", "carol")
    join(members, coordinator.token(reusable=True))
    for member, other in ((alice, bob), (bob, carol), (carol, alice)):
        member.reaches(other)

    carol.meshwg("down")

    assert carol.wait_for_end() == 0
    assert leftovers(carol.host) == []
    for member in (alice, bob):
        member.wait_until_sees("carol", online=False)

    coordinator.command("node", "remove", "bob")

    assert bob.wait_for_end() == 6
    assert "This node was removed from the mesh." in bob.log()
    assert leftovers(bob.host) == []
    alice.wait_until(lambda status: len(status["peers"]) == 1, "bob is gone")
    assert "Refused" not in alice.log()

    again = bob.try_to_start()
    assert again.returncode == 6
    assert "is not a member of the mesh; join with a token" in again.stderr
    assert set(coordinator.nodes()) == {"alice", "carol"}


def test_a_coordinators_restart_is_invisible_to_traffic(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob = members = add_members(lab, "alice", "bob")
    join(members, coordinator.token(reusable=True))
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
    join(members, coordinator.token(reusable=True))
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


@pytest.mark.parametrize("place", ["internet", "two homes", "one home"])
def test_nodes_that_restart_without_their_coordinator_find_each_other(
    lab: Lab, place: str
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice, bob = members = in_place(lab, place)
    join(members, coordinator.token(reusable=True))
    for member, other in ((alice, bob), (bob, alice)):
        other.wait_until(knows_public_address, "its public address is known")
        member.wait_until_saved(other.name)
        member.wait_until_saved_at(other.status()["self"]["nat"]["public"])

    coordinator.stop()
    for member in members:
        member.kill()
    for member in members:
        member.start()
        member.wait_until(lambda status: status["self"]["addresses"] != [], "it is up")

    alice.reaches(bob)
    for member in members:
        member.wait_until(
            lambda status: status["peers"][0]["path"]["kind"] == "direct",
            f"{member.name} has a direct path",
        )


@needs_coturn
def test_relayed_nodes_go_on_when_their_relay_dies_with_the_coordinator(
    lab: Lab,
) -> None:
    hosts = [lab.add_host(f"relay-{n}", lab.internet, ipv6=False) for n in (1, 2)]
    coordinator = with_relays(lab, [host.address() for host in hosts])
    secrets = {each: relay_secret(coordinator, each.address()) for each in hosts}
    assert len(set(secrets.values())) == 2
    relays = {each.address(): start_relay(each, secrets[each]) for each in hosts}
    routers = [lab.add_router(f"office-{n}", OFFICE) for n in (1, 2)]
    alice, bob = (
        Member(lab.add_host(name, router, ipv6=False))
        for name, router in zip(("alice", "bob"), routers, strict=True)
    )
    join([alice, bob], coordinator.token(reusable=True))
    alice.host.ping(bob.addresses[0])
    alice.ping(bob, "-i", "0.2")
    for member in (alice, bob):
        member.host.wait_until(
            partial(knows_relayed_addresses, member, 2),
            "both nodes have told where they are if their relay dies",
        )

    url = alice.status()["self"]["relay"]["url"]
    relays[url.split(":")[1]].kill()
    coordinator.kill()

    alice.wait_until(
        lambda status: status["self"]["relay"]["url"] != url, "it has another relay"
    )
    alice.host.ping(bob.addresses[0], within=10.0)


def test_a_killed_coordinator_forgets_no_node_it_has_acknowledged(
    lab: Lab,
) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    members = add_members(lab, "alice", "bob", "carol", "dave")
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


def test_a_node_that_roams_is_reached_in_its_new_network(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    home, cafe = (lab.add_router(name, PORT_RESTRICTED) for name in ("home", "cafe"))
    alice = Member(lab.add_host("alice", home))
    bob = Member(lab.add_host("bob", lab.internet))
    join([alice, bob], coordinator.token(reusable=True))
    bob.reaches(alice)

    alice.host.move_to(cafe)

    alice.wait_until(
        lambda status: status["peers"][0]["path"]["kind"] == "direct", "it is back"
    )
    bob.reaches(alice)
    bob.wait_until(
        lambda status: status["peers"][0]["path"]["remote"].startswith(cafe.address()),
        "alice is at the cafe",
    )


def have_joined(members: list[Member], count: int) -> bool:
    return sum(member.has_joined() for member in members) >= count


def add_members(lab: Lab, *names: str) -> list[Member]:
    return [Member(lab.add_host(name, lab.internet)) for name in names]


def in_place(lab: Lab, place: str) -> list[Member]:
    """Return two nodes at public addresses, or behind port-restricted NATs."""
    names = ("alice", "bob")
    if place == "internet":
        return add_members(lab, *names)
    routers = [lab.add_router(f"home-{n}", PORT_RESTRICTED) for n in range(2)]
    if place == "one home":
        routers[1] = routers[0]
    return [
        Member(lab.add_host(name, router))
        for name, router in zip(names, routers, strict=True)
    ]


def knows_relayed_addresses(member: Member, count: int) -> bool:
    """Tell whether a node has saved so many relayed addresses of each of its peers.

    A change of its own is no reason for it to save the netmap.
    """
    netmap = member.state_dir / "netmap.json"
    entries = json.loads(netmap.read_text())["peers"] if netmap.exists() else []
    kinds = [
        [candidate["kind"] for candidate in entry["candidates"]]
        for entry in entries
        if entry["name"] != member.name
    ]
    return bool(kinds) and all(each.count("relay") == count for each in kinds)


def knows_public_address(status: Json) -> bool:
    nat = status["self"]["nat"]
    return nat is not None and nat["public"] is not None


def with_relays(lab: Lab, addresses: list[str]) -> Coordinator:
    """Return a running coordinator that names these relays, and is none itself."""
    host = lab.add_host("coordinator", lab.internet)
    urls = [f"turn:{address}:{coturn.PORT}?transport=udp" for address in addresses]
    config = host.write_file("coordinator.toml", f"relays = {json.dumps(urls)}\n")
    coordinator = Coordinator(host, "--no-relay", "--config", str(config))
    coordinator.start()
    return coordinator


def relay_secret(coordinator: Coordinator, address: str) -> str:
    secret: str = coordinator.command("relay", "secret", address)["secret"]
    return secret


def start_relay(host: Host, secret: str) -> Process:
    """Start other people's relay, which knows nothing but its own secret."""
    options = ["--use-auth-secret", f"--static-auth-secret={secret}", "--realm=x.test"]
    return coturn.start(host, options)


def join(members: list[Member], token: str) -> None:
    """Let nodes join together and see each other."""
    for member in members:
        member.start("--join", token)
    names = {member.name for member in members}
    for member in members:
        member.wait_until_connected()
        member.wait_until_sees(*names - {member.name})
