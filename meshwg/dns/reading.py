"""Answers as a person reads them."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from meshwg.dns.message import HEADER, RecordType, ResponseCode, code_of, skip_name
from meshwg.dns.name import MAX_LABEL, MAX_LABELS, MAX_NAME, to_text
from meshwg.errors import InvalidMessage

MAX_RECORDS = 256
"""Records of one answer that are read."""


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """One record of an answer."""

    name: str
    type: str
    ttl: int
    value: str
    """As zone files have it, names without the dot at their end."""


def read_answers(data: bytes) -> tuple[str, list[ReadRecord]]:
    """Return the response code's name, and the records that answer.

    :raises InvalidMessage: if the message is damaged.
    """
    try:
        _, _, questions, answers, _, _ = struct.unpack_from("!6H", data)
        at = HEADER
        for _ in range(questions):
            at = skip_name(data, at) + 4
        records = []
        for _ in range(min(answers, MAX_RECORDS)):
            name, at = _read_name(data, at)
            type_, _, ttl, length = struct.unpack_from("!HHIH", data, at)
            at += 10
            value = _read_value(data, at, type_, length)
            records.append(ReadRecord(to_text(name), name_of_type(type_), ttl, value))
            at += length
    except (ValueError, IndexError, struct.error):
        raise InvalidMessage("The answer is no DNS message") from None
    return name_of_code(code_of(data)), records


def name_of_type(number: int) -> str:
    """Return the name of a type of record, ``TYPE…`` if it has none here."""
    try:
        return RecordType(number).name
    except ValueError:
        return f"TYPE{number}"


def name_of_code(number: int) -> str:
    """Return the name of a response code, its number if it has none here."""
    try:
        return ResponseCode(number).name
    except ValueError:
        return f"code {number}"


def _read_name(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a name without pointers, and where what follows it begins.

    :raises ValueError: if it is none.
    """
    end = skip_name(data, at)
    parts = b""
    for _ in range(MAX_LABELS):
        length = data[at]
        if length > MAX_LABEL:
            # Pointers go back; what leads in a circle has too many labels.
            at = int.from_bytes(data[at : at + 2]) & 0x3FFF
            continue
        parts += data[at : at + 1 + length]
        at += 1 + length
        if not length and len(parts) <= MAX_NAME:
            return parts, end
    raise ValueError("a name has too many labels")


def _read_value(data: bytes, at: int, type_: int, length: int) -> str:
    value = data[at : at + length]
    if len(value) < length:
        raise ValueError("a record ends behind the message")
    match type_:
        case RecordType.A:
            return str(IPv4Address(value))
        case RecordType.AAAA:
            return str(IPv6Address(value))
        case RecordType.NS | RecordType.CNAME | RecordType.PTR:
            return to_text(_read_name(data, at)[0])
        case RecordType.SRV:
            numbers = struct.unpack_from("!3H", value)
            target = to_text(_read_name(data, at + 6)[0])
            return " ".join([*map(str, numbers), target])
        case RecordType.TXT | RecordType.HINFO:
            return _read_texts(value)
        case _:
            return f"\\# {length} {value.hex()}".rstrip()


def _read_texts(value: bytes) -> str:
    texts, at = [], 0
    while at < len(value):
        text = value[at + 1 : at + 1 + value[at]].decode("ascii", "backslashreplace")
        shown = "".join(each if each.isprintable() else "?" for each in text)
        texts.append(f'"{shown}"')
        at += 1 + value[at]
    return " ".join(texts)
