"""What single values in control messages are, and how long they may be."""

import ipaddress
from functools import lru_cache
from typing import Annotated

from meshwg import prefixes
from meshwg.keys import format_key, parse_key
from meshwg.schema import Converted, Matching, MaxLength, Within
from meshwg.wire.dnsrecords import canonical_domain

MAX_SENTENCE = 512


def _canonical_key(text: str) -> str:
    return format_key(parse_key(text))


@lru_cache(maxsize=4096)
def _canonical_address(text: str) -> str:
    address = prefixes.to_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError("A zone means nothing on another machine")
    return str(address)


def _printable(text: str) -> str:
    """Return the text without what could move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _domain(text: str) -> str:
    """Return the name of a zone, or nothing: no name keeps a node out of its mesh."""
    try:
        return canonical_domain(text)
    except ValueError:
        return ""


PublicKey = Annotated[str, MaxLength(44), Converted(_canonical_key)]
"""An X25519 public key in WireGuard's base64 form."""
Address = Annotated[str, MaxLength(45), Converted(_canonical_address)]
"""A numeric IPv4 or IPv6 address without a zone."""
Prefix = Annotated[str, MaxLength(49), Converted(prefixes.canonical)]
"""A network in CIDR form, without host bits."""
Port = Annotated[int, Within(ge=1, le=65535)]
Word = Annotated[str, Matching(r"[a-z0-9-]{1,32}")]
"""One of a set of words that may grow: ``host``, ``hub``, ``port-restricted-cone``."""
Name = Annotated[str, MaxLength(63), Converted(_printable)]
Sentence = Annotated[str, MaxLength(MAX_SENTENCE), Converted(_printable)]
Label = Annotated[str, MaxLength(300), Converted(_printable)]
Url = Annotated[str, MaxLength(255)]
Domain = Annotated[str, MaxLength(253), Converted(_domain)]
Count = Annotated[int, Within(ge=0, lt=1 << 63)]
UnixTime = Annotated[float, Within(ge=0, le=253_402_300_800)]
"""Seconds since 1970, up to the year 9999, which is the last that calendars know."""
