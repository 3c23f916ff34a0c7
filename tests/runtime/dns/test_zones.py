"""The zone of what a node knows."""

from meshwg.dns.message import RecordType, ResponseCode
from meshwg.dns.name import to_wire
from meshwg.node.trust import Held
from meshwg.runtime.dns.zones import make_zone, own_name
from meshwg.wire.control import Records
from meshwg.wire.dnsrecords import DnsRecord
from tests.node.stage import BOB, Stage


def has(stage: Stage, name: str) -> bool:
    zone = make_zone(stage.node, "mesh.internal")
    assert zone is not None
    found = zone.look_up(to_wire(f"{name}.mesh.internal"), RecordType.A)
    return found.code is ResponseCode.NOERROR


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
