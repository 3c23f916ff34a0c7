"""Auxiliary sockets live as long as they are useful."""

from meshwg.path.candidate import CandidateKind
from meshwg.path.sockets import LINGER, SocketKeeper
from meshwg.path.table import PathTable
from meshwg.transmit import UDP, Endpoint
from tests.path.punching import Pair, firing_birthday

FAR = Endpoint("203.0.113.1", 1111)
RELAY = Endpoint("198.51.100.1", 50000, 1)


def test_only_links_that_are_open_for_the_peer_may_be_used() -> None:
    table = PathTable()
    keeper = SocketKeeper(table, Pair().other)
    assert keeper.may_use(UDP, 0.0)
    assert not keeper.may_use(1, 0.0)
    table.set_relay(RELAY, 0.0)
    assert keeper.may_use(1, 0.0)
    assert not keeper.may_use(107, 0.0)
    keeper.add([107])
    assert keeper.may_use(107, 0.0)


def test_sockets_of_an_attempt_are_kept_and_one_may_win() -> None:
    fan = firing_birthday().other
    keeper = SocketKeeper(PathTable(), fan)
    keeper.add(fan.links)
    assert keeper.take_unused(0.1) == ()
    assert keeper.may_use(fan.links[3], 0.2)
    assert not keeper.may_use(fan.links[4], 0.2)


def test_after_the_attempt_only_the_socket_of_a_proven_path_is_kept() -> None:
    fan, table = firing_birthday().other, PathTable()
    keeper, links = SocketKeeper(table, fan), fan.links
    keeper.add(links)
    winner = FAR._replace(link=links[3])
    table.add(winner, CandidateKind.BIRTHDAY).answered(winner, 0.05, 0.3)
    table.add(FAR._replace(link=links[4]), CandidateKind.BIRTHDAY)
    fan.succeed(winner, 0.3)
    assert sorted(keeper.take_unused(0.3)) == sorted(set(links) - {links[3]})
    assert [path.endpoint for path in table] == [winner]
    assert keeper.take_unused(0.3) == (), "each is closed once"


def test_a_socket_is_closed_when_its_path_is_gone() -> None:
    table = PathTable()
    keeper = SocketKeeper(table, Pair().other)
    keeper.add([107])
    path = table.add(FAR._replace(link=107), CandidateKind.BIRTHDAY)
    path.answered(path.endpoint, 0.05, 0.0)
    assert keeper.take_unused(0.0) == ()
    table.remove(path)
    assert keeper.take_unused(0.0) == (107,)


def test_a_socket_is_kept_for_as_long_as_the_peer_may_use_it() -> None:
    fan = firing_birthday().other
    keeper, (first, second, *others) = SocketKeeper(PathTable(), fan), fan.links
    keeper.add(fan.links)
    keeper.answered(first, 0.2)
    keeper.answered(second, 5.0)
    fan.succeed(FAR, 5.1)
    assert sorted(keeper.take_unused(5.1)) == sorted(others), "a path elsewhere works"
    assert keeper.get_timer() == 0.2 + LINGER
    assert keeper.take_unused(0.1 + LINGER) == ()
    assert keeper.take_unused(0.2 + LINGER) == (first,)
    keeper.answered(second, 30.0)
    assert keeper.get_timer() == 30.0 + LINGER, "the peer still checks it"
    assert keeper.take_unused(30.0 + LINGER) == (second,)
    assert keeper.get_timer() is None


def test_an_answer_by_no_auxiliary_socket_is_nothing_to_keep() -> None:
    keeper = SocketKeeper(PathTable(), Pair().other)
    keeper.answered(UDP, 0.0)
    assert keeper.get_timer() is None


def test_sockets_that_come_too_late_are_closed() -> None:
    puncher = Pair().other
    keeper = SocketKeeper(PathTable(), puncher)
    puncher.add_sockets([5, 6], 0.0)
    assert keeper.take_unused(0.0) == (5, 6)
