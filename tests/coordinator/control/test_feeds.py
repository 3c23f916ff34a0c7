"""Long netmaps are sent a few slices at a time, and newcomers take turns."""

from coordinator.control.connection import Connection
from coordinator.control.feeds import AT_ONCE, Feeds


def test_without_anything_to_send_nobody_is_woken() -> None:
    feeds = Feeds()
    assert list(feeds.take()) == []
    assert feeds.get_timer() is None


def test_all_is_sent_in_order_and_the_last_says_where_it_leads() -> None:
    feeds, connection = Feeds(), member(1)
    payloads = [b"%d" % number for number in range(3)]
    feeds.begin(connection, payloads, 7)
    assert feeds.get_timer() == 0.0
    assert connection in feeds
    assert list(feeds.take()) == [
        (connection, b"0", None),
        (connection, b"1", None),
        (connection, b"2", 7),
    ]
    assert connection not in feeds


def test_no_more_than_some_are_sent_in_one_go() -> None:
    feeds, connection = Feeds(), member(1)
    feeds.begin(connection, [b""] * (AT_ONCE + 1), 7)
    assert len(list(feeds.take())) == AT_ONCE
    assert feeds.get_timer() == 0.0
    assert list(feeds.take()) == [(connection, b"", 7)]


def test_newcomers_take_turns() -> None:
    feeds, one, other = Feeds(), member(1), member(2)
    for connection in (one, other):
        feeds.begin(connection, [b"", b""], 7)
    assert [each for each, _, _ in feeds.take()] == [one, other, one, other]


def test_who_does_not_read_waits_and_wakes_nobody() -> None:
    feeds, slow, other = Feeds(), member(1), member(2)
    slow.writable = False
    feeds.begin(slow, [b""], 7)
    assert feeds.get_timer() is None
    feeds.begin(other, [b""], 7)
    assert [each for each, _, _ in feeds.take()] == [other]
    slow.writable = True
    assert [each for each, _, _ in feeds.take()] == [slow]


def test_what_is_begun_takes_the_place_of_what_was_under_way() -> None:
    feeds, connection = Feeds(), member(1)
    feeds.begin(connection, [b"old"] * 3, 7)
    feeds.begin(connection, [b"new"], 8)
    assert list(feeds.take()) == [(connection, b"new", 8)]


def test_who_is_gone_is_sent_nothing() -> None:
    feeds, connection = Feeds(), member(1)
    feeds.begin(connection, [b""], 7)
    feeds.stop(connection)
    feeds.stop(connection)
    assert list(feeds.take()) == []


def member(number: int) -> Connection:
    return Connection(number, "", "", 0.0)
