"""One stream with a peer survives, and the controlling side says which."""

from meshwg.path.candidate import CandidateKind
from meshwg.path.streams import MOST, PROOF_TIMEOUT, STREAM_LIMIT, StreamKeeper
from meshwg.path.table import PathTable
from meshwg.transmit import Endpoint

NOW = 1000.0


def test_a_stream_that_is_not_proven_in_time_is_closed() -> None:
    table, keeper = PathTable(), StreamKeeper(PathTable(), controlling=False)
    assert keeper.add(-1, NOW)
    assert keeper.get_timer() == NOW + PROOF_TIMEOUT

    assert keeper.take_unused(NOW + PROOF_TIMEOUT - 0.1) == ()
    assert keeper.take_unused(NOW + PROOF_TIMEOUT) == (-1,)
    assert -1 not in keeper
    assert keeper.get_timer() is None
    assert list(table) == []


def test_the_controlling_side_keeps_the_first_that_is_proven() -> None:
    table = PathTable()
    keeper = StreamKeeper(table, controlling=True)
    for link in (-1, -2, -3):
        keeper.add(link, NOW)
    prove(table, -2)

    assert keeper.take_unused(NOW) == (-1, -3)
    assert -2 in keeper


def test_the_controlling_side_keeps_the_one_in_use() -> None:
    table = PathTable()
    keeper = StreamKeeper(table, controlling=True)
    for link in (-1, -2):
        keeper.add(link, NOW)
        prove(table, link)
    table.selected = table.find(at(-2))

    assert keeper.take_unused(NOW) == (-1,)
    assert table.find(at(-1)) is None


def test_a_stream_that_may_be_dead_is_no_reason_to_close_a_new_one() -> None:
    table = PathTable()
    keeper = StreamKeeper(table, controlling=True)
    keeper.add(-1, NOW)
    prove(table, -1)
    table.selected = table.find(at(-1))
    table.distrust(NOW + 5)
    keeper.add(-2, NOW + 5)

    assert keeper.take_unused(NOW + 5) == ()
    prove(table, -2)
    assert keeper.take_unused(NOW + 5) == (-1,), "the one that works is kept"


def test_the_other_side_leaves_the_choice_to_it() -> None:
    table = PathTable()
    keeper = StreamKeeper(table, controlling=False)
    for link in (-1, -2):
        keeper.add(link, NOW)
        prove(table, link)

    assert keeper.take_unused(NOW + PROOF_TIMEOUT) == ()


def test_a_stream_goes_with_its_path() -> None:
    table = PathTable()
    keeper = StreamKeeper(table, controlling=False)
    keeper.add(-1, NOW)
    path = table.add(at(-1), CandidateKind.TCP)
    path.answered(at(-1), 0.01, NOW)
    table.remove(path)

    assert keeper.take_unused(NOW + PROOF_TIMEOUT) == (-1,)


def test_only_a_few_streams_wait_to_be_proven() -> None:
    keeper = StreamKeeper(PathTable(), controlling=True)

    opened = [keeper.add(-number, NOW) for number in range(1, STREAM_LIMIT + 3)]

    assert opened == [True] * STREAM_LIMIT + [False] * 2


def test_a_peer_that_closes_none_has_few_at_a_time() -> None:
    table = PathTable()
    keeper = StreamKeeper(table, controlling=False)
    closed: list[int] = []
    for link in range(-1, -100, -1):
        assert keeper.add(link, NOW)
        prove(table, link)
        table.selected = table.find(at(-1))
        closed += keeper.take_unused(NOW)

    assert -1 in keeper, "it is in use"
    assert closed == list(range(-2, -2 - (99 - MOST), -1))
    assert len(list(table)) == MOST


def prove(table: PathTable, link: int) -> None:
    path = table.add(at(link), CandidateKind.TCP)
    path.answered(at(link), 0.01, NOW)


def at(link: int) -> Endpoint:
    return Endpoint("203.0.113.1", 5000, link)
