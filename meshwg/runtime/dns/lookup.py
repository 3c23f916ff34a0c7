"""Questions of ``meshwg dns query``, asked and answered inside of the node."""

import os
from ipaddress import ip_address
from typing import Any

from meshwg.dns.message import (
    RECURSION_DESIRED,
    Question,
    RecordType,
    write_query,
)
from meshwg.dns.name import is_within, reverse_name, to_text, to_wire
from meshwg.dns.reading import ReadRecord, read_answers
from meshwg.errors import ConfigError
from meshwg.runtime.dns.service import MeshNames

SCHEMA = 1


async def look_up(names: MeshNames, name: str, kind: str | None) -> dict[str, Any]:
    """Return what there is at a name, or what an address is called.

    :param name: names of the mesh may be without its domain.
    :param kind: of records; by default addresses, and names for an address.
    :raises MeshError: if that is no name, or nobody answers.
    """
    wire, default = _parse(name, names.domain)
    kinds = default
    if kind is not None:
        if kind.upper() not in RecordType.__members__:
            raise ConfigError(f"'{kind}' is no type of records: use A, AAAA or TXT")
        kinds = (RecordType[kind.upper()],)
    code, found = "NOERROR", list[ReadRecord]()
    for each in kinds:
        question = Question(wire, each)
        id_ = int.from_bytes(os.urandom(2))
        message = write_query(id_, question, flags=RECURSION_DESIRED, edns=True)
        code, records = read_answers(await names.query(message))
        found += [record for record in records if record not in found]
    apex = to_wire(names.domain)
    return {
        "schema": SCHEMA,
        "name": to_text(wire),
        "code": code,
        "in_mesh": is_within(wire, apex),
        "answers": [
            {
                "name": record.name,
                "type": record.type,
                "ttl": record.ttl,
                "value": record.value,
            }
            for record in found
        ],
    }


def _parse(name: str, domain: str) -> tuple[bytes, tuple[RecordType, ...]]:
    """Return a name's wire form, and the types to ask for.

    :raises ConfigError: if it is no name.
    """
    try:
        return reverse_name(str(ip_address(name))), (RecordType.PTR,)
    except ValueError:
        pass
    try:
        is_short = "." not in name
        wire = to_wire(f"{name}.{domain}" if is_short and name else name)
    except ValueError as error:
        raise ConfigError(
            f"'{name[:80]}' is no name: {error}; write one such as db, or db.{domain}"
        ) from None
    return wire, (RecordType.A, RecordType.AAAA)
