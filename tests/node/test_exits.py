"""The exit that a node uses, and a node that is one."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from meshwg.errors import MeshError
from meshwg.node import ExitChanged, ExitInterface, InterfaceChanged
from meshwg.node.exits import AWAY, ChosenExit
from meshwg.peer import MeshPeer
from meshwg.wire import control
from tests.node.stage import BOB, HOME, NOW, Stage
from tests.wireguard.pair import ipv4

INTERNET, INTERNET6 = "203.0.113.9", "2001:db8::9"
LATER = NOW + 60.0


@pytest.mark.parametrize("how", ["bob", BOB, "key"])
def test_an_exit_is_found_by_name_address_and_key(how: str) -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB, exit=True)
    assert stage.node.exits.find(bob.key if how == "key" else how) is bob


def test_who_is_no_exit_or_nobody_cannot_be_one() -> None:
    stage = Stage()
    stage.add_peer("carol", "100.64.0.9")
    with pytest.raises(MeshError, match=r"has none that is approved"):
        stage.node.exits.find("bob")
    stage.add_peer("bob", BOB, exit=True)
    with pytest.raises(MeshError, match=r"no exit 'rob': use one of bob$"):
        stage.node.exits.find("rob")
    with pytest.raises(
        MeshError, match=r"carol is no exit: .*route approve carol exit"
    ):
        stage.node.exits.find("carol")


def test_packets_to_the_internet_go_to_the_exit_and_are_taken_from_it_alone() -> None:
    stage = Stage()
    bob, carol = using(stage), stage.add_peer("carol", "100.64.0.9", exit=True)

    for address in (INTERNET, INTERNET6):
        assert owner(stage, address) is bob
    stage.connect(bob)
    stage.connect(carol)
    news = ipv4(INTERNET, HOME, b"news")
    stage.hear(carol, news)
    assert stage.node.packets_to_write() == []
    stage.hear(bob, news)
    assert stage.node.packets_to_write() == [news]


@pytest.mark.parametrize("address", ["192.168.1.1", "10.0.0.1", "100.64.0.77"])
def test_the_exit_does_not_speak_for_private_addresses_and_others_in_the_mesh(
    address: str,
) -> None:
    stage = Stage()
    bob = using(stage)
    assert owner(stage, address) is None
    stage.connect(bob)
    stage.hear(bob, ipv4(address, HOME, b"news"))
    assert stage.node.packets_to_write() == []


def test_networks_behind_peers_stay_behind_them() -> None:
    stage = Stage()
    using(stage)
    carol = stage.add_peer("carol", "100.64.0.9", routes=["203.0.113.0/28"])
    assert owner(stage, "203.0.113.9") is carol
    assert owner(stage, "203.0.113.99") is not carol


def test_the_interface_is_told_and_told_again_when_the_exit_is_none_any_more() -> None:
    stage = Stage()
    using(stage, lan=True)
    assert last_exit(stage) == ExitInterface(is_there=True, lan=True)

    stage.add_peer("bob", BOB, exit=False)

    assert last_exit(stage) == ExitInterface(is_there=False, lan=True)
    assert owner(stage, INTERNET) is None
    stage.add_peer("bob", BOB, exit=True)
    assert last_exit(stage) == ExitInterface(is_there=True, lan=True)
    stage.node.use_exit(None, NOW)
    assert last_exit(stage) is None
    assert owner(stage, INTERNET) is None


def test_an_exit_that_is_removed_leaves_no_way() -> None:
    stage = Stage()
    bob = using(stage)
    stage.node.members.change([], [bob.key], NOW)
    assert last_exit(stage) == ExitInterface(is_there=False, lan=False)
    stage.node.handle_timer(LATER)
    assert [each.code for each in stage.node.health] == [AWAY]


def test_another_exit_takes_the_place_of_the_one_before() -> None:
    stage = Stage()
    using(stage)
    carol = stage.add_peer("carol", "100.64.0.9", exit=True)
    stage.node.use_exit(ChosenExit(carol.key, "carol"), NOW)
    assert owner(stage, INTERNET) is carol


def test_it_is_chosen_by_its_key_whatever_it_is_called() -> None:
    stage = Stage()
    bob = using(stage)
    stage.node.members.change([replace(bob.entry, name="robert", version=2)], [], NOW)
    used = stage.node.exits.status(NOW)
    assert used is not None
    assert used["name"] == "robert"
    assert owner(stage, INTERNET) is bob


def test_the_user_is_told_once_that_it_is_away_and_what_helps() -> None:
    stage = Stage()
    using(stage)
    stage.connect(stage.node.peers[stage.node.exits.find("bob").key])
    stage.events(ExitChanged)
    stage.add_peer("bob", BOB, exit=True, online=False)
    stage.node.handle_timer(NOW + 5)
    assert list(stage.node.health) == []

    for now in (LATER, LATER + 1):
        stage.node.handle_timer(now)

    (told,) = stage.events(ExitChanged)
    assert told == ExitChanged("bob", "bob is offline, and was not heard for 10 s")
    (complaint,) = stage.node.health
    assert "bob is offline" in complaint.text
    assert "meshwg exit off" in complaint.mend
    used = stage.node.exits.status(LATER)
    assert used is not None
    assert (used["state"], used["reason"]) == ("away", told.reason)

    stage.add_peer("bob", BOB, exit=True)
    stage.node.handle_timer(LATER + 2)
    assert list(stage.node.health) == []
    assert stage.events(ExitChanged) == [ExitChanged("bob", "")]


def test_without_an_exit_nothing_is_said() -> None:
    stage = Stage()
    using(stage)
    stage.add_peer("bob", BOB)
    stage.node.handle_timer(LATER)
    stage.node.use_exit(None, LATER)

    assert list(stage.node.health) == []
    assert stage.node.exits.status(LATER) is None
    assert stage.node.exits.name_servers() is None


def test_names_of_the_internet_are_asked_for_at_the_exit() -> None:
    stage = Stage()
    using(stage)
    assert stage.node.exits.name_servers() == (BOB,)
    stage.add_peer("bob", BOB)
    assert stage.node.exits.name_servers() == ()


def test_the_list_has_approved_exits_by_name_and_the_one_in_use() -> None:
    stage = Stage()
    using(stage)
    stage.add_peer("alice", "100.64.0.9", exit=True, online=False)
    stage.add_peer("carol", "100.64.0.8")

    report = stage.node.exits.report(NOW, NOW)

    shown = [(e["name"], e["online"], e["in_use"]) for e in report["exits"]]
    assert shown == [("alice", False, False), ("bob", True, True)]
    assert report["using"]["name"] == "bob"


def test_an_exit_delivers_what_is_for_the_internet_and_nothing_nearer() -> None:
    stage, bob = offering(approved=True)
    stage.node.members.set_own_networks(["203.0.113.0/28", "192.168.1.0/24"])
    passing = [ipv4(BOB, to, b"x") for to in ("203.0.113.99", HOME)]
    nearer = [
        ipv4(BOB, to, b"x")
        for to in (
            *("203.0.113.9", "192.168.1.1", "10.0.0.1", "100.64.0.9"),
            *("169.254.169.254", "127.0.0.1", "224.0.0.1"),
        )
    ]
    stage.hear(bob, *nearer, *passing)
    assert stage.node.packets_to_write() == passing


@pytest.mark.parametrize("offered", [True, False])
def test_nobody_is_an_exit_without_both_offering_and_approval(offered: bool) -> None:
    stage, bob = offering(approved=not offered, offered=offered)
    stage.hear(bob, ipv4(BOB, INTERNET, b"x"))
    assert stage.node.packets_to_write() == []
    assert not stage.events(InterfaceChanged)[-1].is_exit


def test_a_policy_about_the_internet_is_judged_at_the_exit() -> None:
    stage, bob = offering(approved=True)
    allow = control.PolicyRule(sources=(2,), internet=True, ports=("tcp/443", "udp/53"))
    policy = control.PolicyMessage(version=1, sha256="0" * 64, own=1, rules=(allow,))
    stage.node.access.set_policy(stage.node.control.registered, policy, NOW)
    stage.add_peer("bob", BOB, policy_class=2)
    rule_for = stage.node.access.rule_for

    assert rule_for(BOB, INTERNET, 6, 443)[0] is not None
    assert rule_for(BOB, INTERNET, 6, 22)[0] is None
    # Whoever may ask name servers of the internet may ask this one for them.
    assert rule_for(BOB, HOME, 17, 53)[0] is not None
    assert rule_for(BOB, HOME, 6, 443)[0] is None
    assert rule_for("100.64.0.9", HOME, 17, 53)[0] is None
    assert bob.entry.policy_class == 2


def using(stage: Stage, *, lan: bool = False) -> MeshPeer:
    """Let there be an exit, and use it."""
    bob = stage.add_peer("bob", BOB, exit=True)
    stage.node.use_exit(ChosenExit(bob.key, "bob", lan), NOW)
    return bob


def offering(*, approved: bool, offered: bool = True) -> tuple[Stage, MeshPeer]:
    """Return a node that may be an exit, and a peer with a session to it."""
    stage = Stage(exit_=offered)
    bob = stage.add_peer("bob", BOB)
    stage.connect(bob)
    itself = stage.entry("home", HOME, exit=approved)
    itself = replace(itself, public_key=stage.node.public_key)
    stage.node.control.peers.update(
        control.Delta(base=1, version=2, digest="", changed=(itself,))
    )
    stage.node.members.update_interface()
    return stage, bob


def last_exit(stage: Stage) -> ExitInterface | None:
    return stage.events(InterfaceChanged)[-1].exit


def owner(stage: Stage, address: str) -> MeshPeer | None:
    """Return the peer to which packets to an address go."""
    lane = stage.node.device.allowed_ips.lookup(ip_address(address).packed)
    peers = stage.node.peers.values()
    return next((peer for peer in peers if peer.tunnel.lane is lane), None)
