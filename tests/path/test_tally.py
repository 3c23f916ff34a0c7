"""Messages are counted by where they go and come from."""

from meshwg.path.tally import LIMIT, NOTHING, Amount, Counts, Tally
from meshwg.transmit import Endpoint, Source

FAR = Endpoint("203.0.113.1", 1111)


def test_nothing_is_what_there_was_before() -> None:
    assert Counts().amount(FAR) == NOTHING


def test_each_kind_of_message_has_its_count() -> None:
    counts = Counts()
    counts.add_data(FAR, 100)
    counts.add_data(FAR, 2000)
    counts.add_handshake(FAR, is_initiation=True)
    counts.add_handshake(FAR, is_initiation=False)
    counts.add_handshake(FAR, is_initiation=False)
    assert counts.amount(FAR) == Amount(1, 2, 2, 2100)


def test_ends_are_told_apart_and_sticky_sources_are_not() -> None:
    counts = Counts()
    counts.add_data(FAR, 1)
    counts.add_data(FAR._replace(source=Source("192.168.1.2", 2)), 2)
    counts.add_data(FAR._replace(link=7), 4)
    counts.add_data(FAR._replace(port=2222), 8)
    assert counts.amount(FAR).data == 3


def test_ends_are_bounded_and_the_oldest_goes() -> None:
    counts = Counts()
    for port in range(LIMIT + 1):
        counts.add_data(FAR._replace(port=port), 1)
    assert counts.amount(FAR._replace(port=0)) == NOTHING
    assert counts.amount(FAR._replace(port=LIMIT)).data == 1


def test_strange_data_is_told_once() -> None:
    tally = Tally()
    tally.note_strange(FAR)
    assert not tally.take_strange(FAR._replace(port=2))
    assert tally.take_strange(FAR)
    assert not tally.take_strange(FAR)


def test_strange_data_from_everywhere_takes_no_memory() -> None:
    tally = Tally()
    for port in range(LIMIT + 10):
        tally.note_strange(FAR._replace(port=port))
    assert not tally.take_strange(FAR._replace(port=LIMIT))
