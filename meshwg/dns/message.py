"""DNS messages (RFC 1035, RFC 6891), as far as a stub reads and writes them.

A *query* has one question and perhaps an OPT record; whatever else it holds is passed
over within bounds. Answers compress only an owner that is the question's name. Messages
of upstream servers are never taken apart here: :func:`is_answer` tells whether one
belongs to a query, and it goes on as it is.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from meshwg.dns.name import MAX_LABEL, MAX_LABELS, MAX_NAME, ROOT

HEADER: Final = 12
MAX_QUERY: Final = 4096
"""Bytes of a query that is looked at; ordinary ones have less than 300."""
MAX_ADDITIONAL: Final = 8
"""Records behind the question of a query, one of which may be OPT."""
PLAIN_SIZE: Final = 512
"""Bytes of a UDP message without EDNS."""
EDNS_SIZE: Final = 1232
"""Bytes of a UDP message that pass everywhere without fragments (DNS flag day 2020)."""
MAX_MESSAGE: Final = 0xFFFF

QUERY_BIT, AUTHORITATIVE, TRUNCATED = 0x8000, 0x0400, 0x0200
RECURSION_DESIRED, RECURSION_AVAILABLE, CHECKING_DISABLED = 0x0100, 0x0080, 0x0010
DNSSEC_OK = 0x8000
CLASS_IN, CLASS_ANY = 1, 255
_OPCODE_SHIFT, _OPCODE_MASK = 11, 0xF
_POINTER = 0xC0
_QUESTION_POINTER = b"\xc0\x0c"
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")


class RecordType(IntEnum):
    """Types of records by their number."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    HINFO = 13
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class ResponseCode(IntEnum):
    """What came of a query."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    name: bytes
    """As it was written: some clients vary the case of letters, and compare it."""
    type: int
    kind: int = CLASS_IN
    """The class."""

    @property
    def wire(self) -> bytes:
        return self.name + struct.pack("!HH", self.type, self.kind)


@dataclass(frozen=True, slots=True)
class Extension:
    """What an OPT record says (RFC 6891)."""

    size: int
    """Bytes of a UDP message that the sender takes."""
    version: int
    dnssec_ok: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query, as far as it could be read."""

    id: int
    flags: int
    question: Question | None
    extension: Extension | None
    fault: ResponseCode = ResponseCode.NOERROR
    """Why it cannot be answered, if so."""

    @property
    def limit(self) -> int:
        """How many bytes an answer by UDP may have."""
        if self.extension is None:
            return PLAIN_SIZE
        return min(max(self.extension.size, PLAIN_SIZE), EDNS_SIZE)


@dataclass(frozen=True, slots=True)
class ResourceRecord:
    """A record of an answer."""

    name: bytes
    type: int
    ttl: int
    data: bytes


def read_query(data: bytes) -> Query | None:
    """Return a query, ``None`` if nobody asks anything: then there is no answer."""
    if len(data) < HEADER:
        return None
    id_, flags, *counts = _HEADER.unpack_from(data)
    if flags & QUERY_BIT:
        # It answers, so to answer it would make a loop.
        return None
    if flags >> _OPCODE_SHIFT & _OPCODE_MASK:
        return Query(id_, flags, None, None, ResponseCode.NOTIMP)
    questions, answers, authority, additional = counts
    is_usual = questions == 1 and not answers and not authority
    if not is_usual or additional > MAX_ADDITIONAL or len(data) > MAX_QUERY:
        return Query(id_, flags, None, None, ResponseCode.FORMERR)
    try:
        question, at = _read_question(data)
        extension = _read_extension(data, at, additional)
    except (ValueError, IndexError, struct.error):
        return Query(id_, flags, None, None, ResponseCode.FORMERR)
    fault = ResponseCode.NOERROR
    if extension is not None and extension.version:
        fault = ResponseCode.BADVERS
    return Query(id_, flags, question, extension, fault)


def write_query(id_: int, question: Question, *, flags: int, edns: bool) -> bytes:
    """Return a query.

    :param flags: in the header's form, such as :data:`RECURSION_DESIRED`; with EDNS,
        :data:`DNSSEC_OK` stands for its flag.
    """
    extension = _opt(0, flags & DNSSEC_OK) if edns else b""
    head = _HEADER.pack(id_, flags & ~QUERY_BIT, 1, 0, 0, 1 if edns else 0)
    return head + question.wire + extension


def respond(
    query: Query,
    code: ResponseCode,
    answers: Sequence[ResourceRecord] = (),
    authority: Sequence[ResourceRecord] = (),
    *,
    authoritative: bool = False,
    recursive: bool = False,
    limit: int = MAX_MESSAGE,
) -> bytes:
    """Return an answer to a query.

    :param recursive: whether the server also asks others.
    :param limit: bytes; what has more is cut to nothing but the mark that says so.
    """
    flags = QUERY_BIT | query.flags & (0x7800 | RECURSION_DESIRED | CHECKING_DISABLED)
    flags |= AUTHORITATIVE if authoritative else 0
    flags |= RECURSION_AVAILABLE if recursive else 0
    flags |= code & 0xF
    question = b"" if query.question is None else query.question.wire
    extension = b"" if query.extension is None else _opt(code >> 4, 0)
    records = [_write_record(each, query.question) for each in (*answers, *authority)]
    body = question + b"".join(records) + extension
    counts = [len(answers), len(authority)]
    if HEADER + len(body) > limit:
        flags |= TRUNCATED
        body, counts = question + extension, [0, 0]
    return (
        _HEADER.pack(query.id, flags, bool(question), *counts, bool(extension)) + body
    )


def is_answer(data: bytes, id_: int, question: Question) -> bool:
    """Tell whether a message answers this query and no other one."""
    if not HEADER <= len(data) <= MAX_MESSAGE:
        return False
    given, flags, questions = _HEADER.unpack_from(data)[:3]
    end = HEADER + len(question.name)
    return (
        given == id_
        and bool(flags & QUERY_BIT)
        and not flags >> _OPCODE_SHIFT & _OPCODE_MASK
        and questions == 1
        and data[HEADER:end].lower() == question.name.lower()
        and data[end : end + 4] == question.wire[-4:]
    )


def code_of(data: bytes) -> int:
    """Return the response code in the header of an answer."""
    return data[3] & 0xF


def is_truncated(data: bytes) -> bool:
    """Tell whether an answer says that more of it was cut."""
    return bool(data[2] & TRUNCATED >> 8)


def pass_on(answer: bytes, query: Query, limit: int) -> bytes:
    """Return another server's answer as one to the query of somebody else.

    :param answer: to the same question, letters' case aside.
    :param limit: bytes; what has more is cut.
    """
    assert query.question is not None
    if len(answer) > limit:
        flags = int.from_bytes(answer[2:4]) | TRUNCATED
        extension = b"" if query.extension is None else _opt(0, 0)
        head = _HEADER.pack(query.id, flags, 1, 0, 0, 1 if extension else 0)
        return head + query.question.wire + extension
    wire = query.question.wire
    rest = answer[HEADER + len(wire) :]
    return query.id.to_bytes(2) + answer[2:HEADER] + wire + rest


def skip_name(data: bytes, at: int) -> int:
    """Return where a name ends, pointers included.

    :raises ValueError: if it is none.
    :raises IndexError: if the message ends before.
    """
    for _ in range(MAX_LABELS):
        length = data[at]
        if length >= _POINTER:
            return at + 2
        if length > MAX_LABEL:
            raise ValueError("a label has another kind than any that there is")
        at += 1 + length
        if not length:
            return at
    raise ValueError("a name has too many labels")


def _read_question(data: bytes) -> tuple[Question, int]:
    end = HEADER
    while length := data[end]:
        if length > MAX_LABEL:
            raise ValueError("the first name of a message cannot point back")
        end += 1 + length
    end += 1
    name = data[HEADER:end]
    if len(name) > MAX_NAME:
        raise ValueError("a name is too long")
    type_, kind = struct.unpack_from("!HH", data, end)
    return Question(name, type_, kind), end + 4


def _read_extension(data: bytes, at: int, count: int) -> Extension | None:
    found = None
    for _ in range(count):
        end = skip_name(data, at)
        type_, kind, ttl, length = _FIXED.unpack_from(data, end)
        is_root = data[at:end] == ROOT
        at = end + _FIXED.size + length
        if at > len(data):
            raise ValueError("a record ends behind the message")
        if type_ != RecordType.OPT:
            continue
        if found is not None or not is_root:
            raise ValueError("there is one OPT record, at the root")
        found = Extension(kind, ttl >> 16 & 0xFF, bool(ttl & DNSSEC_OK))
    return found


def _opt(code: int, flags: int) -> bytes:
    """Return the OPT record of this side.

    :param code: the upper bits of the response code.
    """
    ttl = code << 24 | flags & DNSSEC_OK
    return ROOT + _FIXED.pack(RecordType.OPT, EDNS_SIZE, ttl, 0)


def _write_record(record: ResourceRecord, question: Question | None) -> bytes:
    owner = record.name
    if question is not None and owner == question.name.lower():
        owner = _QUESTION_POINTER
    fixed = _FIXED.pack(record.type, CLASS_IN, record.ttl, len(record.data))
    return owner + fixed + record.data
