"""Rounds: a first change is sent at once, and later ones together."""

from coordinator.control.connection import Connection
from coordinator.control.rounds import PAUSE_PER_MEMBER, SLICE, Rounds


def test_without_changes_nothing_is_sent() -> None:
    rounds = Rounds(0.0)
    assert rounds.next_slice(members(3), 5.0) == []
    assert rounds.get_timer() is None


def test_the_first_change_is_sent_to_all_at_once() -> None:
    rounds, mesh = Rounds(0.0), members(3)
    rounds.want()
    assert rounds.next_slice(mesh, 0.0) == mesh
    assert rounds.next_slice(mesh, 0.0) == []


def test_a_large_mesh_is_sent_in_slices() -> None:
    rounds, mesh = Rounds(0.0), members(2 * SLICE + 1)
    rounds.want()
    told = []
    while slice_ := rounds.next_slice(mesh, 0.0):
        assert len(slice_) <= SLICE
        told += slice_
        if len(told) < len(mesh):
            assert rounds.get_timer() == 0.0
    assert told == mesh


def test_the_next_round_waits_longer_in_a_larger_mesh() -> None:
    rounds, mesh = Rounds(0.0), members(100)
    rounds.want()
    rounds.next_slice(mesh, 1.0)
    rounds.want()
    rounds.want()
    at = rounds.get_timer()
    assert at == 1.0 + 100 * PAUSE_PER_MEMBER
    assert rounds.next_slice(mesh, 1.0) == []
    assert rounds.next_slice(mesh, at) == mesh
    assert rounds.get_timer() is None


def members(count: int) -> list[Connection]:
    return [Connection(number, "", "", 0.0) for number in range(count)]
