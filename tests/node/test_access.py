"""A node's filter follows from what the coordinator says, and from its own guard."""

from collections.abc import Sequence
from dataclasses import replace

from meshwg.health import Health
from meshwg.keys import PrivateKey, format_key
from meshwg.node.access import LOST, AccessControl
from meshwg.peer import MeshPeer
from meshwg.policy.filter import DenyReason
from meshwg.policy.guard import GuardRule
from meshwg.policy.ports import EVERYTHING, TCP
from meshwg.wire import control
from meshwg.wireguard.device import Device
from meshwg.wireguard.filtering import PacketFilter
from meshwg.wireguard.python_datapath import PythonDatapath
from tests.policy.packets import error, udp

HOME, BOB = "100.64.0.1", "100.64.0.2"
NOW = 1000.0
REGISTERED = control.Registered(
    epoch="e", name="home", addresses=(HOME,), networks=("100.64.0.0/16",), policy=3
)
POLICY = control.PolicyMessage(
    version=3,
    sha256="0" * 64,
    own=1,
    classes=(control.NamedClass(number=2, labels=("tag:db",)),),
    rules=(
        control.PolicyRule(sources=(1,), destinations=(2,), ports=("tcp/22",), line=7),
    ),
)


def test_without_a_policy_nothing_stands_in_the_data_path() -> None:
    stage = Stage()
    stage.follow()

    assert stage.installed == []
    assert stage.access.status()["default"] == "allow"
    assert stage.access.rule_for(HOME, BOB, TCP, 23) == (None, None)


def test_with_one_there_is_a_filter_that_knows_the_members() -> None:
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.follow()

    assert len(stage.installed) == 1
    assert stage.installed[0] is stage.access.filter
    rule, _ = stage.access.rule_for(HOME, BOB, TCP, 22)
    assert rule is not None
    assert rule.line == 7
    assert stage.access.rule_for(HOME, BOB, TCP, 23) == (None, DenyReason.NO_RULE)
    assert stage.access.labels(2) == ("tag:db",)
    assert stage.access.status()["version"] == 3


def test_it_is_taken_away_with_the_policy() -> None:
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.access.set_policy(replace(REGISTERED, policy=0), None, NOW)

    assert stage.installed[-1] is None


def test_a_policy_that_is_lost_denies_all_and_is_complained_of() -> None:
    stage = Stage()

    stage.access.set_policy(REGISTERED, None, NOW)
    stage.follow()

    assert [each.code for each in stage.health] == [LOST]
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.NO_RULE
    assert stage.access.status()["default"] == "deny"
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    assert list(stage.health) == []


def test_where_it_is_not_known_whether_there_was_one_nothing_passes_until_it_is() -> (
    None
):
    stage = Stage()
    stage.access.lose(NOW)
    stage.follow()

    assert [each.code for each in stage.health] == [LOST]
    assert stage.access.status()["default"] == "deny"
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.NO_RULE
    stage.access.set_policy(REGISTERED, None, NOW)
    assert stage.access.status()["default"] == "deny"
    stage.access.set_policy(replace(REGISTERED, policy=0), None, NOW)
    assert list(stage.health) == []
    assert stage.access.status()["default"] == "allow"


def test_the_same_again_judges_nothing_anew() -> None:
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.follow()
    before = stage.access.filter.generation

    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.follow()
    stage.peers.append(peer("carol", "100.64.0.3", 2))
    stage.follow()

    assert stage.access.filter.generation == before


def test_a_member_of_another_class_is_judged_anew_and_one_who_is_gone_forgotten() -> (
    None
):
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.follow()
    before = stage.access.filter.generation

    bob = stage.peers[0]
    bob.entry = replace(bob.entry, policy_class=9)
    stage.follow()
    assert stage.access.filter.generation > before
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.NO_RULE

    bob.entry = replace(bob.entry, policy_class=2)
    stage.follow()
    stage.peers.clear()
    stage.follow()
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.NO_RULE


def test_a_guard_names_nodes_wherever_they_are() -> None:
    stage = Stage()
    stage.access.set_guard((GuardRule(("self",), ("node:bob",), (EVERYTHING,)),), NOW)
    stage.follow()

    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is None
    bob = stage.peers[0]
    bob.entry = replace(bob.entry, addresses=("100.64.0.9",))
    stage.follow()
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.GUARD
    assert stage.access.rule_for(HOME, "100.64.0.9", TCP, 22)[1] is None
    assert stage.access.status()["guard"]


def test_a_guard_that_changes_is_in_force_with_the_next_look_at_the_members() -> None:
    stage = Stage()
    first = (GuardRule(("self",), ("node:bob",), (EVERYTHING,)),)
    stage.access.set_guard(first, NOW)
    stage.follow()
    before = stage.access.filter.generation

    stage.access.set_guard(first, NOW)
    assert stage.access.filter.generation == before
    stage.access.set_guard((GuardRule(("node:bob",), ("self",), (EVERYTHING,)),), NOW)
    assert stage.access.rule_for(BOB, HOME, TCP, 22)[1] is DenyReason.GUARD
    stage.follow()
    assert stage.access.rule_for(BOB, HOME, TCP, 22)[1] is None
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.GUARD

    stage.access.set_guard(None, NOW)
    assert not stage.access.is_on
    assert stage.installed[-1] is None


def test_an_error_may_come_from_a_hub() -> None:
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.peers.append(peer("hub", "100.64.0.3", 2))
    stage.follow()
    packet = udp(HOME, BOB, (1, 22))
    rules = (control.PolicyRule(sources=(1,), destinations=(2,), ports=("udp/22",)),)
    stage.access.set_policy(REGISTERED, replace(POLICY, rules=rules), NOW)
    assert stage.access.filter.judge(packet, NOW, inbound=False) >= 0

    complaint = error("100.64.0.3", HOME, packet)
    assert stage.access.filter.judge(complaint, NOW, inbound=True) < 0
    hub = stage.peers[-1]
    hub.entry = replace(hub.entry, role="hub")
    stage.follow()
    assert stage.access.filter.judge(complaint, NOW, inbound=True) >= 0


def test_rules_are_about_addresses_whatever_their_ports_are() -> None:
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.follow()
    rule, _ = stage.access.rule_for(HOME, BOB, TCP, 22)
    assert rule is not None

    assert stage.access.is_about(rule, HOME, BOB)
    assert not stage.access.is_about(rule, BOB, HOME)


class NotingDatapath(PythonDatapath):
    """Notes which filters it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.installed: list[PacketFilter | None] = []

    def set_filter(self, packet_filter: PacketFilter | None) -> None:
        self.installed.append(packet_filter)


def test_classes_told_ahead_count_with_the_policy_they_are_of() -> None:
    stage = Stage()
    stage.access.set_policy(REGISTERED, POLICY, NOW)
    stage.follow()
    stage.peers[0].entry = replace(stage.peers[0].entry, policy_class=9)

    stage.access.know(stage.peers[0], is_ahead=True)
    stage.follow()
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is None

    rules = (control.PolicyRule(sources=(1,), destinations=(9,), ports=("tcp/80",)),)
    stage.access.set_policy(REGISTERED, replace(POLICY, rules=rules, version=4), NOW)
    stage.follow()
    assert stage.access.rule_for(HOME, BOB, TCP, 80)[1] is None
    assert stage.access.rule_for(HOME, BOB, TCP, 22)[1] is DenyReason.NO_RULE


class Stage:
    """The access control of a node that has one peer."""

    def __init__(self) -> None:
        self.health = Health()
        datapath = NotingDatapath()
        self.installed = datapath.installed
        self.access = AccessControl(datapath, self.health, NOW)
        self.peers = [peer("bob", BOB, 2)]
        self._known: list[str] = []

    def follow(self, routes: Sequence[str] = ()) -> None:
        keys = [each.key for each in self.peers]
        for key in [each for each in self._known if each not in keys]:
            self.access.forget(key)
        for each in self.peers:
            self.access.know(each)
        self._known = keys
        self.access.follow((HOME,), routes, forwards=False)


def peer(name: str, address: str, number: int) -> MeshPeer:
    """Return a peer of a class."""
    seed = name.encode().ljust(32, b"x")
    key = PrivateKey.from_bytes(seed).public_bytes
    device = Device(random=bytes, unix_time=lambda now: now)
    entry = control.PeerEntry(
        public_key=format_key(key),
        name=name,
        addresses=(address,),
        version=1,
        policy_class=number,
    )
    return MeshPeer(entry, device.add_peer(key))
