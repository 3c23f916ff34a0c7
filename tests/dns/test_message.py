"""DNS messages, with dnspython as the oracle."""

from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.dns.message import (
    CHECKING_DISABLED,
    DNSSEC_OK,
    EDNS_SIZE,
    PLAIN_SIZE,
    RECURSION_DESIRED,
    Query,
    Question,
    RecordType,
    ResourceRecord,
    ResponseCode,
    code_of,
    is_answer,
    is_truncated,
    pass_on,
    read_query,
    respond,
    skip_name,
    write_query,
)
from meshwg.dns.name import to_wire

NAME = "db.mesh.internal."
QUESTION = Question(to_wire(NAME), RecordType.A)


def asked(text: str = NAME, kind: str = "A", **options: Any) -> bytes:
    message = dns.message.make_query(text, kind)
    if options:
        message.use_edns(**options)
    return message.to_wire()


def test_a_query_of_others_is_read() -> None:
    query = read_query(asked("DB.Mesh.internal.", "AAAA"))

    assert query is not None
    assert not query.fault
    assert query.question == Question(
        b"\x02DB\x04Mesh\x08internal\x00", RecordType.AAAA
    )
    assert query.extension is None
    assert query.limit == PLAIN_SIZE


def test_what_edns_says_is_read() -> None:
    for size, limit in ((100, PLAIN_SIZE), (1000, 1000), (65535, EDNS_SIZE)):
        data = asked(edns=0, payload=size, ednsflags=dns.flags.DO)

        query = read_query(data)

        assert query is not None
        assert query.extension is not None
        assert query.extension.dnssec_ok
        assert query.limit == limit


def test_options_and_unknown_records_behind_the_question_are_passed_over() -> None:
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"x" * 100)
    query = read_query(asked(edns=0, options=[option]))

    assert query is not None
    assert query.extension is not None
    assert not query.fault


def test_an_answer_gets_no_answer() -> None:
    answer = dns.message.make_response(dns.message.from_wire(asked()))

    assert read_query(answer.to_wire()) is None
    assert read_query(asked()[:11]) is None
    assert read_query(b"") is None


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (bytes(12), ResponseCode.FORMERR),
        (asked()[:-1], ResponseCode.FORMERR),
        (asked()[:5] + b"\x02" + asked()[6:], ResponseCode.FORMERR),
        (asked()[:12] + b"\xc0\x0c\x00\x01\x00\x01", ResponseCode.FORMERR),
        (asked()[:12] + b"\x41" + asked()[13:], ResponseCode.FORMERR),
        (asked() + bytes(5000), ResponseCode.FORMERR),
        (asked()[:11] + b"\x09" + asked()[12:], ResponseCode.FORMERR),
        (asked(edns=0)[:-3], ResponseCode.FORMERR),
        (asked()[:2] + b"\x20" + asked()[3:], ResponseCode.NOTIMP),
        (asked(edns=1), ResponseCode.BADVERS),
    ],
    ids=[
        *("nothing", "cut", "two-questions", "pointer", "label-kind", "long"),
        *("many-records", "cut-opt", "opcode", "edns-version"),
    ],
)
def test_what_cannot_be_answered_says_why(data: bytes, fault: ResponseCode) -> None:
    query = read_query(data)

    assert query is not None
    assert query.fault is fault
    answer = dns.message.from_wire(respond(query, fault))
    assert int(answer.rcode()) == int(fault)
    assert answer.id == int.from_bytes(data[:2])


def test_two_opt_records_are_one_too_many() -> None:
    data = bytearray(asked(edns=0))
    data[11] = 2
    query = read_query(bytes(data) + bytes(data[-11:]))

    assert query is not None
    assert query.fault is ResponseCode.FORMERR


@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    query = read_query(data)

    if query is not None:
        respond(query, query.fault or ResponseCode.REFUSED)
    is_answer(data, 0, QUESTION)


def test_others_read_a_query_of_this_side() -> None:
    flags = RECURSION_DESIRED | CHECKING_DISABLED | DNSSEC_OK

    read = dns.message.from_wire(write_query(77, QUESTION, flags=flags, edns=True))

    assert read.id == 77
    assert read.question[0].to_text() == f"{NAME} IN A"
    assert read.flags == dns.flags.RD | dns.flags.CD
    assert read.ednsflags == dns.flags.DO
    assert read.payload == EDNS_SIZE
    plain = dns.message.from_wire(write_query(77, QUESTION, flags=0, edns=False))
    assert plain.edns == -1


def test_others_read_an_answer_of_this_side() -> None:
    query = read_query(asked(edns=0))
    assert query is not None
    records = [
        ResourceRecord(QUESTION.name, RecordType.A, 60, bytes([10, 0, 0, each]))
        for each in (1, 2)
    ]
    soa = to_wire("ns.mesh.internal") + to_wire("x.mesh.internal") + bytes(20)
    authority = ResourceRecord(to_wire("mesh.internal"), RecordType.SOA, 5, soa)

    data = respond(
        query, ResponseCode.NOERROR, records, [authority], authoritative=True
    )

    answer = dns.message.from_wire(data)
    assert answer.is_response(dns.message.from_wire(asked())) is False
    assert [str(each) for each in answer.answer[0]] == ["10.0.0.1", "10.0.0.2"]
    assert answer.answer[0].ttl == 60
    assert answer.answer[0].name.to_text() == NAME
    assert answer.authority[0].rdtype == dns.rdatatype.SOA
    assert answer.flags & dns.flags.AA
    assert answer.flags & dns.flags.RD
    assert not answer.flags & dns.flags.RA
    assert answer.payload == EDNS_SIZE


def test_an_answer_that_is_too_long_is_cut() -> None:
    query = read_query(asked())
    assert query is not None
    record = ResourceRecord(QUESTION.name, RecordType.TXT, 60, b"\xff" + bytes(255))

    data = respond(query, ResponseCode.NOERROR, [record] * 4, limit=query.limit)

    assert len(data) <= PLAIN_SIZE
    assert is_truncated(data)
    assert dns.message.from_wire(data).answer == []
    whole = respond(query, ResponseCode.NOERROR, [record] * 4)
    assert not is_truncated(whole)
    assert len(dns.message.from_wire(whole).answer[0]) == 1


def upstream(id_: int = 9, text: str = NAME, kind: str = "A") -> bytes:
    message = dns.message.make_query(text, kind, id=id_)
    answer = dns.message.make_response(message)
    answer.answer.append(dns.rrset.from_text(text, 30, "IN", "A", "192.0.2.1"))
    return answer.to_wire()


def test_an_answer_belongs_to_one_question() -> None:
    assert is_answer(upstream(), 9, QUESTION)
    assert is_answer(upstream(text="DB.mesh.internal."), 9, QUESTION)
    assert not is_answer(upstream(id_=8), 9, QUESTION)
    assert not is_answer(upstream(text="db.mesh.intern."), 9, QUESTION)
    assert not is_answer(upstream(kind="AAAA"), 9, QUESTION)
    assert not is_answer(asked(), int.from_bytes(asked()[:2]), QUESTION)
    assert not is_answer(b"", 9, QUESTION)
    # A type that differs by what would be the case of a letter.
    other = Question(QUESTION.name, 65)
    assert not is_answer(upstream(kind="TYPE97"), 9, other)


def test_an_answer_is_passed_on_in_the_form_of_the_question() -> None:
    query = read_query(asked("DB.mesh.Internal."))
    assert query is not None

    data = pass_on(upstream(), query, 512)

    answer = dns.message.from_wire(data)
    assert answer.id == query.id
    assert answer.question[0].name.to_text() == "DB.mesh.Internal."
    assert str(answer.answer[0][0]) == "192.0.2.1"
    assert code_of(data) == 0


def test_an_answer_that_the_asker_cannot_take_is_cut() -> None:
    query = read_query(asked(edns=0, payload=600))
    assert query is not None

    data = pass_on(upstream() + bytes(600), query, query.limit)

    assert is_truncated(data)
    assert dns.message.from_wire(data).id == query.id


def test_a_name_that_never_ends_is_found_out() -> None:
    with pytest.raises(ValueError, match="too many"):
        skip_name(b"\x01a" * 200, 0)
    with pytest.raises(IndexError):
        skip_name(b"\x3f", 0)
    assert skip_name(b"\x01a\xc0\x00", 0) == 4


def test_a_query_without_a_question_is_answered_without_one() -> None:
    query = Query(1, 0, None, None, ResponseCode.FORMERR)

    assert respond(query, ResponseCode.FORMERR) == bytes([0, 1, 128, 1, *bytes(8)])
