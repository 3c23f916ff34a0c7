"""Receiver indices: random, unique, and free again when released."""

from meshwg.wireguard.indices import IndexTable


def test_a_taken_index_is_not_given_out_again() -> None:
    numbers = iter([b"\x01\0\0\0", b"\x01\0\0\0", b"\x02\0\0\0"])
    table: IndexTable[str] = IndexTable(lambda _length: next(numbers))
    assert table.new("a") == 1
    assert table.new("b") == 2
    assert (table.owner(1), table.owner(2), table.owner(3)) == ("a", "b", None)


def test_a_released_index_has_no_owner() -> None:
    table: IndexTable[str] = IndexTable(lambda length: bytes(length))
    index = table.new("a")
    table.release(index)
    table.release(index)
    assert table.owner(index) is None
    assert len(table) == 0
