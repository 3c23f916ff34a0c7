"""Askers: whose check it is, and what it costs to find out."""

from meshwg.node.askers import DERIVED_AT_ONCE
from meshwg.path.veil import Veil
from meshwg.wire import stun
from tests.node.path_stage import LOW_ORDER_KEY, NOW, SOURCE, Stage


def test_each_unknown_check_tries_a_few_members_and_all_get_a_turn() -> None:
    stage = Stage()
    peers = [stage.add_peer() for _ in range(DERIVED_AT_ONCE + 1)]

    stage.paths.receive_check(stage.check_of(peers[-1]), SOURCE, NOW)
    assert stage.paths.drops["unknown-check"] == 1
    stage.paths.receive_check(stage.check_of(peers[-1]), SOURCE, NOW)

    assert stage.paths.drops["unknown-check"] == 1
    assert [peer for peer in peers if peer.agent is not None] == [peers[-1]]


def test_a_tag_leads_to_its_peer_for_as_long_as_that_is_trusted() -> None:
    stage = Stage()
    peer, other = stage.add_peer(), stage.add_peer()
    public_key = peer.tunnel.public_key
    check = stage.check_of(peer, Veil(stage.key).tag_for(public_key, stage.random))

    stage.paths.receive_check(check, SOURCE, NOW)
    assert (peer.agent is not None, other.agent) == (True, None)
    stage.paths.remove(peer)
    stage.paths.receive_check(check, SOURCE, NOW)

    assert stage.paths.drops["unknown-check"] == 1
    assert other.agent is None


def test_a_check_from_a_stranger_creates_no_agent() -> None:
    stage = Stage()
    peers = [stage.add_peer(), stage.add_peer(LOW_ORDER_KEY)]
    stranger = stun.parse(stun.binding_request(bytes(12)))

    stage.paths.receive_check(stranger, SOURCE, NOW)

    assert stage.paths.drops["unknown-check"] == 1
    assert [peer.agent for peer in peers] == [None, None]
