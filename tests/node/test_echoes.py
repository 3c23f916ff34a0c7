"""Echo requests of a node's own: who they are from, and which replies are theirs."""

from meshwg.node.events import EchoReceived
from meshwg.packet.icmp import parse_echo_reply
from tests.node.stage import BOB, NOW, Stage
from tests.world.packets import echo_reply


def test_a_request_goes_from_one_mesh_address_to_the_other() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)

    request = stage.node.echoes.request(bob, 7, 3)

    assert request is not None
    assert request[12:20] == bytes([100, 64, 0, 1, 100, 64, 0, 2])
    assert parse_echo_reply(echo_reply(request)) == ("100.64.0.2", 7, 3)


def test_without_an_ipv4_address_on_both_sides_there_is_no_request() -> None:
    stage = Stage()
    six = stage.add_peer("six", "fd00::2")
    assert stage.node.echoes.request(six, 7, 3) is None

    strangers = Stage(addresses=("fd00::1",))
    bob = strangers.add_peer("bob", BOB)
    assert strangers.node.echoes.request(bob, 7, 3) is None
    assert not strangers.node.ping(bob, 7, 3, NOW)


def test_replies_become_events_as_long_as_they_are_awaited() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    stage.connect(bob)
    request = stage.node.echoes.request(bob, 7, 3)
    assert request is not None
    reply = echo_reply(request)

    stage.hear(bob, reply)
    assert stage.events(EchoReceived) == [EchoReceived(7, 3)]
    assert stage.node.packets_to_write() == []

    stage.node.echoes.end(7)
    stage.node.echoes.end(99)
    stage.hear(bob, reply)
    assert stage.events(EchoReceived) == []
    assert stage.node.packets_to_write() == [reply]


def test_replies_to_other_requests_are_left_to_the_system() -> None:
    stage = Stage()
    bob = stage.add_peer("bob", BOB)
    stage.connect(bob)
    mine, others = (stage.node.echoes.request(bob, each, 1) for each in (7, 8))
    assert mine is not None
    assert others is not None
    stage.node.echoes.end(8)

    stage.hear(bob, echo_reply(others), echo_reply(mine))

    assert stage.events(EchoReceived) == [EchoReceived(7, 1)]
    assert stage.node.packets_to_write() == [echo_reply(others)]
