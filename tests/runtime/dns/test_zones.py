"""The zone of what a node knows."""

from meshwg.dns.message import RecordType, ResponseCode
from meshwg.dns.name import to_wire
from meshwg.node.trust import Held
from meshwg.peer import PLAIN
from meshwg.runtime.dns.zones import make_plain_zone, make_zone, own_name
from meshwg.wire.control import PolicyMessage, PolicyRule, Records
from meshwg.wire.dnsrecords import DnsRecord
from tests.node.stage import BOB, NOW, Stage

PHONE, CAROL = "100.64.0.5", "100.64.0.9"


def has(stage: Stage, name: str) -> bool:
    zone = make_zone(stage.node, "mesh.internal")
    assert zone is not None
    found = zone.look_up(to_wire(f"{name}.mesh.internal"), RecordType.A)
    return found.code is ResponseCode.NOERROR


def shown_to_phone(stage: Stage) -> dict[str, bool]:
    """Return which names a phone finds that asks this node."""
    zone = make_plain_zone(stage.node, "mesh.internal", PHONE)
    assert zone is not None
    answers = {
        name: zone.look_up(to_wire(f"{name}.mesh.internal"), RecordType.A)
        for name in ("home", "phone", "bob", "carol", "api")
    }
    return {name: each.code is ResponseCode.NOERROR for name, each in answers.items()}


def with_phone(**fields: object) -> Stage:
    """Return a node with two peers, a record and a phone, whose hub it is."""
    stage = Stage()
    stage.add_peer("bob", BOB, policy_class=2)
    stage.add_peer("carol", CAROL, policy_class=3)
    own = {"role": PLAIN, "via": stage.node.public_key, **fields}
    stage.add_peer("phone", PHONE, "fd00::5", policy_class=4, **own)
    record = DnsRecord(name="api", kind="A", value="10.0.0.5")
    stage.node.control.records.update(Records(version=9, added=(record,)))
    return stage


def test_a_plain_peer_finds_all_where_there_is_no_policy() -> None:
    assert all(shown_to_phone(with_phone()).values())


def test_under_a_policy_it_finds_whom_it_may_reach_or_is_reached_by() -> None:
    stage = with_phone()
    rules = (
        PolicyRule(sources=(4,), destinations=(2,), ports=("tcp/22",)),
        PolicyRule(sources=(1,), destinations=(4,), ports=("icmp",)),
    )
    policy = PolicyMessage(version=1, sha256="0" * 64, own=1, rules=rules)
    stage.node.access.set_policy(stage.node.control.registered, policy, NOW)
    stage.node.members.update_interface()

    assert shown_to_phone(stage) == {
        **dict.fromkeys(("home", "phone", "bob"), True),
        **dict.fromkeys(("carol", "api"), False),
    }


def test_nobody_else_is_a_plain_peer_of_this_node() -> None:
    stage = with_phone(via="A" * 43 + "=")
    for address in (PHONE, BOB, "100.64.0.77"):
        assert make_plain_zone(stage.node, "mesh.internal", address) is None


def test_it_holds_this_node_its_peers_and_records() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB, "fd00::2")
    record = DnsRecord(name="api", kind="A", value="10.0.0.5")
    stage.node.control.records.update(Records(version=9, added=(record,)))

    assert [has(stage, name) for name in ("home", "bob", "api", "carol")] == [
        *(True, True, True, False)
    ]
    assert own_name(stage.node) == "home"


def test_who_has_left_has_no_name() -> None:
    stage = Stage()
    peer = stage.add_peer("bob", BOB)
    stage.node.members.change([], [peer.key], 0.0)

    assert not has(stage, "bob")


def test_who_is_held_has_no_name() -> None:
    stage = Stage()
    stage.add_peer("bob", BOB)
    stage.node.members.change(
        [stage.entry("mallory", BOB)],
        [],
        0.0,
    )
    held = [each for each in stage.node.members.held.values()]

    assert [type(each) for each in held] == [Held]
    assert not has(stage, "mallory")
    assert has(stage, "bob")
