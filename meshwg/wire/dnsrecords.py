"""Records of the mesh's zone that administrators add, beside the names of its nodes.

A record stands at a name inside the zone, which is written without the zone's own:
``api``, or ``_postgresql._tcp.db``. What it points to by name is in the zone, too: so
nobody who may add records can speak for other people's names, and whoever may not see a
node does not learn of it by a record.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Final

from meshwg.schema import Converted, Matching, MaxLength

DEFAULT_DOMAIN: Final = "mesh.internal"
MAX_DOMAIN: Final = 100
"""Letters; names of nodes and records come before it in a name of 253."""
MAX_RECORDS: Final = 1024
"""In a zone."""
MAX_PATH: Final = 150
"""Letters of a record's name without the zone's."""
MAX_VALUE: Final = 255
KINDS: Final = ("A", "AAAA", "CNAME", "SRV", "TXT")

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?", re.ASCII)


def canonical_domain(text: str) -> str:
    """Return a zone's name in lower case, without a dot at its end.

    :raises ValueError: if it is none, or so wide that it takes in whole countries.
    """
    domain = text.lower().removesuffix(".")
    parts = domain.split(".")
    if len(domain) > MAX_DOMAIN or not all(map(_LABEL.fullmatch, parts)):
        raise ValueError(
            "a domain has labels of letters, digits and hyphens, such as mesh.internal,"
            f" and up to {MAX_DOMAIN} letters"
        )
    if len(parts) < 2 or domain.endswith(".arpa"):
        raise ValueError("a domain has two labels at least, such as mesh.internal")
    return domain


def canonical_path(text: str) -> str:
    """Return the name of a record, without the zone's, in lower case.

    :raises ValueError: if it is none.
    """
    path = text.lower().removesuffix(".")
    if len(path) > MAX_PATH or not all(map(_LABEL.fullmatch, path.split("."))):
        raise ValueError(
            "a name has labels of letters, digits, hyphens and underscores, and up to "
            f"{MAX_PATH} letters"
        )
    return path


def canonical_value(kind: str, text: str) -> str:
    """Return what a record says, in the form in which equal ones are equal.

    :raises ValueError: if a record of the kind cannot say this.
    """
    reader = _READERS.get(kind)
    if reader is None:
        raise ValueError(f"a record is one of {', '.join(KINDS)}")
    return reader(text.strip())


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsRecord:
    """One record."""

    name: Annotated[str, MaxLength(MAX_PATH), Converted(str.lower)]
    """In the zone, without its name. A node passes over what can be none."""
    kind: Annotated[str, Matching(r"[A-Za-z0-9]{1,16}"), Converted(str.upper)]
    """``A`` … ``TXT``; a node passes over kinds that it does not know."""
    value: Annotated[str, MaxLength(MAX_VALUE), Converted(_printable)]


def read_record(name: str, kind: str, value: str, domain: str = "") -> DnsRecord:
    """Return the record that an administrator has written.

    :param domain: the zone's name, which names may end with.
    :raises ValueError: if there can be no such record.
    """
    kind = kind.upper()
    if kind == "SRV":
        head, _, target = value.rpartition(" ")
        value = f"{head} {path_inside(target, domain)}"
    elif kind == "CNAME":
        value = path_inside(value, domain)
    return DnsRecord(
        name=canonical_path(path_inside(name, domain)),
        kind=kind,
        value=canonical_value(kind, value),
    )


def target_of(record: DnsRecord) -> str | None:
    """Return the name that a record leads to, without the zone's."""
    if record.kind == "CNAME":
        return record.value
    return record.value.rpartition(" ")[2] if record.kind == "SRV" else None


def path_inside(name: str, domain: str) -> str:
    """Return a name without the zone's at its end."""
    name = name.strip().lower().removesuffix(".")
    return name.removesuffix(f".{domain}") if domain else name


def _ipv4(text: str) -> str:
    return str(IPv4Address(text))


def _ipv6(text: str) -> str:
    address = IPv6Address(text)
    if address.scope_id:
        raise ValueError("an address in a record has no zone")
    return str(address)


def _service(text: str) -> str:
    parts = text.split()
    numbers, target = parts[:-1], parts[-1] if parts else ""
    if len(numbers) != 3 or not all(map(_is_port, numbers)):
        raise ValueError("SRV says priority, weight, port and name: 10 5 5432 db")
    return " ".join([*(str(int(each)) for each in numbers), canonical_path(target)])


def _is_port(text: str) -> bool:
    return (
        text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < 1 << 16
    )


def _text(text: str) -> str:
    if len(text.encode()) > MAX_VALUE or not text.isprintable():
        raise ValueError(f"TXT says up to {MAX_VALUE} bytes that can be printed")
    return text


_READERS = {
    "A": _ipv4,
    "AAAA": _ipv6,
    "CNAME": canonical_path,
    "SRV": _service,
    "TXT": _text,
}
