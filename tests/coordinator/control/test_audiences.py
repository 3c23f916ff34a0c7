"""Who is in a class is known without looking at all members."""

from coordinator.control.audiences import Audiences
from coordinator.control.connection import Connection


def test_members_are_found_by_their_class() -> None:
    audiences, (one, other, third) = Audiences(), members(3)
    audiences.put(one, 7)
    audiences.put(other, 8)
    audiences.put(third, 7)
    assert list(audiences.of(7)) == [one, third]
    assert list(audiences.of(8)) == [other]
    assert list(audiences.of(9)) == []


def test_who_has_another_class_is_no_longer_in_the_one_before() -> None:
    audiences, (one,) = Audiences(), members(1)
    audiences.put(one, 7)
    audiences.put(one, 7)
    audiences.put(one, 8)
    assert list(audiences.of(7)) == []
    assert list(audiences.of(8)) == [one]


def test_who_is_gone_is_in_none() -> None:
    audiences, (one, other) = Audiences(), members(2)
    audiences.put(one, 7)
    audiences.remove(one)
    audiences.remove(one)
    audiences.remove(other)
    assert list(audiences.of(7)) == []


def members(count: int) -> list[Connection]:
    return [Connection(number, "", "", 0.0) for number in range(count)]
