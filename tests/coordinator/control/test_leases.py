"""Members use leases over their control connections."""

import pytest

from coordinator.control.connection import LEASE_BURST
from coordinator.control.leases import NOT_STORED, TOO_OFTEN
from meshwg.wire import control
from meshwg.wire.control import LeaseAnswer, LeaseTerm, LeaseUse
from tests.coordinator.control.visitor import Visitor
from tests.world.control import ControlWorld

VIP = "10.60.0.10/32"
TERM = LeaseTerm(holder="visitor_1", duration=4.0)


@pytest.fixture
def visitor() -> Visitor:
    return Visitor(ControlWorld(approved_routes=("10.60.0.0/24",))).join()


def test_a_member_reads_and_writes_a_lease(visitor: Visitor) -> None:
    assert answers(visitor, LeaseUse(id=7, prefix=VIP)) == [LeaseAnswer(id=7)]
    written = LeaseAnswer(id=8, version=1, term=TERM, written=True)
    assert answers(visitor, LeaseUse(id=8, prefix=VIP, term=TERM)) == [written]
    read = LeaseAnswer(id=9, version=1, term=TERM)
    assert answers(visitor, LeaseUse(id=9, prefix=VIP)) == [read]


def test_who_is_too_late_learns_what_is_there(visitor: Visitor) -> None:
    answers(visitor, LeaseUse(id=1, prefix=VIP, term=TERM))
    late = LeaseTerm(holder="other", duration=4.0)
    found = answers(visitor, LeaseUse(id=2, prefix=VIP, base=0, term=late))
    assert found == [LeaseAnswer(id=2, version=1, term=TERM)]


def test_it_is_said_why_a_lease_cannot_be_used(visitor: Visitor) -> None:
    (answer,) = answers(visitor, LeaseUse(id=1, prefix="10.61.0.10/32", term=TERM))
    assert not answer.written
    assert "may not have 10.61.0.10/32" in answer.refused


def test_all_that_are_asked_at_once_are_answered(visitor: Visitor) -> None:
    uses = [LeaseUse(id=n, prefix=VIP) for n in range(5)]
    assert [each.id for each in answers(visitor, *uses)] == [0, 1, 2, 3, 4]


def test_a_flood_costs_few_transactions(visitor: Visitor) -> None:
    uses = [LeaseUse(id=n, prefix=VIP) for n in range(100)]
    found = answers(visitor, *uses)
    refused = [each for each in found if each.refused == TOO_OFTEN]
    assert len(found) == 100
    assert len(refused) >= 100 - LEASE_BURST - 10


def test_nothing_waits_for_a_database_that_fails(visitor: Visitor) -> None:
    server = visitor.coordinator.server
    world = visitor.world
    visitor.hear()
    use = LeaseUse(id=1, prefix=VIP, term=TERM)
    assert visitor._channel is not None
    server.receive_frame(
        visitor._number, visitor._channel.seal(control.encode(use)), world.now
    )
    operations = server.operations(world.now)
    assert len(operations) == 1

    server.failed(operations, world.now)
    visitor.coordinator.drain()

    assert LeaseAnswer(id=1, refused=NOT_STORED.message) in visitor.hear()
    assert not server.pending


def test_others_hear_nothing_of_it(visitor: Visitor) -> None:
    bystander = visitor.world.add_member("bystander")
    visitor.world.advance(3.0)
    version = bystander.client.peers.version
    answers(visitor, LeaseUse(id=1, prefix=VIP, term=TERM))
    visitor.world.advance(3.0)
    assert bystander.client.peers.version == version


def answers(visitor: Visitor, *uses: LeaseUse) -> list[LeaseAnswer]:
    """Let a visitor say something; return what it is told of leases."""
    visitor.hear()
    for use in uses:
        visitor.say(use)
    return [each for each in visitor.hear() if isinstance(each, LeaseAnswer)]
