"""Rounds: a first change is sent at once, and later ones together."""

from coordinator.control.connection import Connection
from coordinator.control.rounds import PAUSE_PER_MEMBER, SLICE, Rounds


def test_without_changes_nothing_is_sent() -> None:
    rounds = Rounds(0.0)
    assert rounds.next_slice(5.0) == []
    assert rounds.get_timer() is None


def test_the_first_change_is_sent_at_once_to_those_who_see_it() -> None:
    rounds, mesh = Rounds(0.0), members(3)
    rounds.want(mesh[:2])
    assert rounds.next_slice(0.0) == mesh[:2]
    assert rounds.next_slice(0.0) == []


def test_a_large_mesh_is_sent_in_slices() -> None:
    rounds, mesh = Rounds(0.0), members(2 * SLICE + 1)
    rounds.want(mesh)
    told: list[Connection] = []
    while slice_ := rounds.next_slice(0.0):
        assert len(slice_) <= SLICE
        told += slice_
        if len(told) < len(mesh):
            assert rounds.get_timer() == 0.0
    assert told == mesh


def test_the_next_round_waits_longer_in_a_larger_mesh() -> None:
    rounds, mesh = Rounds(0.0), members(100)
    rounds.want(mesh)
    rounds.next_slice(1.0)
    rounds.want(mesh[:60])
    rounds.want(mesh[40:])
    at = rounds.get_timer()
    assert at == 1.0 + 100 * PAUSE_PER_MEMBER
    assert rounds.next_slice(1.0) == []
    assert rounds.next_slice(at) == mesh
    assert rounds.get_timer() is None


def test_a_change_that_few_see_costs_no_pause_for_all() -> None:
    rounds, mesh = Rounds(0.0), members(100)
    rounds.want(mesh[:1])
    rounds.next_slice(1.0)
    rounds.want(mesh[1:2])
    assert rounds.get_timer() == 1.0 + PAUSE_PER_MEMBER


def members(count: int) -> list[Connection]:
    return [Connection(number, "", "", 0.0) for number in range(count)]
