"""Answers as a person reads them; dnspython writes them."""

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.dns.reading import ReadRecord, name_of_code, read_answers
from meshwg.errors import InvalidMessage


def answer(*records: tuple[str, str, str], code: int = 0) -> bytes:
    made = dns.message.make_response(dns.message.make_query("db.mesh.internal", "A"))
    made.set_rcode(dns.rcode.Rcode(code))
    for name, kind, value in records:
        made.answer.append(dns.rrset.from_text(name, 60, "IN", kind, value))
    return made.to_wire()


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("A", "100.64.0.2", "100.64.0.2"),
        ("AAAA", "fd00::2", "fd00::2"),
        ("CNAME", "db.mesh.internal.", "db.mesh.internal"),
        ("PTR", "x.db.mesh.internal.", "x.db.mesh.internal"),
        ("SRV", "10 5 5432 db.mesh.internal.", "10 5 5432 db.mesh.internal"),
        ("TXT", '"v=1" "x y"', '"v=1" "x y"'),
        ("TXT", '"\\027[31m\\255"', '"?[31m\\xff"'),
        ("MX", "10 db.mesh.internal.", None),
    ],
)
def test_each_record_is_a_line(kind: str, value: str, shown: str | None) -> None:
    code, (record,) = read_answers(answer(("db.mesh.internal.", kind, value)))

    assert code == "NOERROR"
    assert (record.name, record.ttl) == ("db.mesh.internal", 60)
    if shown is None:
        assert record.type == "TYPE15"
        assert record.value.startswith("\\# ")
    else:
        assert record == ReadRecord("db.mesh.internal", kind, 60, shown)


def test_no_answer_has_a_code() -> None:
    assert read_answers(answer(code=dns.rcode.NXDOMAIN)) == ("NXDOMAIN", [])
    assert name_of_code(14) == "code 14"


@pytest.mark.parametrize("cut", [0, 5, 13, 30, 45, 47])
def test_what_is_damaged_is_refused(cut: int) -> None:
    whole = answer(("db.mesh.internal.", "A", "100.64.0.2"))

    with pytest.raises(InvalidMessage):
        read_answers(whole[:cut])


def test_pointers_in_a_circle_are_found_out() -> None:
    whole = bytearray(answer(("db.mesh.internal.", "PTR", "db.mesh.internal.")))
    at = whole.rindex(b"\xc0\x0c")
    whole[at : at + 2] = (0xC000 | at).to_bytes(2)

    with pytest.raises(InvalidMessage):
        read_answers(bytes(whole))


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_that(data: bytes) -> None:
    try:
        read_answers(bytes([0, 0, 128, 0, 0, 0, 0, 3, 0, 0, 0, 0]) + data)
    except InvalidMessage:
        return
