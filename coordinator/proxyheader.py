"""What a proxy says of a connection before anything else: the PROXY protocol.

Versions 1 (a line of text) and 2 (binary), as HAProxy's ``proxy-protocol.txt`` has
them. Whoever sends such a header says who somebody else is, so it is read only from
proxies that are named.
"""

from ipaddress import ip_address
from typing import NamedTuple

from meshwg.errors import InvalidMessage

LINE_START = b"PROXY "
LINE_LIMIT = 107
"""Bytes of the longest line of version 1 (section 2.1)."""
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_LENGTH = 16
"""Bytes of version 2 before the addresses."""
MAX_ADDRESSES = 2048
"""Bytes of the addresses and of what proxies add to them, which is not looked at."""

_PROXY, _LOCAL = 1, 0
_TCP4, _TCP6 = 0x11, 0x21
_LENGTHS = {_TCP4: 4, _TCP6: 16}


class ProxyHeader(NamedTuple):
    """A header, or that there is none."""

    source: tuple[str, int] | None
    """Address and port of who connected to the proxy; ``None`` if that is the proxy
    itself, or if it does not say."""
    length: int
    """Bytes of the header, 0 if there is none."""


def read_header(data: bytes) -> ProxyHeader | None:
    """Return what stands at the start of a connection, ``None`` if more is needed.

    :raises InvalidMessage: if it is a header that cannot be understood.
    """
    for start, read in ((LINE_START, _read_line), (SIGNATURE, _read_binary)):
        if data.startswith(start):
            return read(data)
        if start.startswith(data):
            return None
    return ProxyHeader(None, 0)


def _read_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, LINE_LIMIT)
    if end < 0:
        if len(data) >= LINE_LIMIT:
            raise InvalidMessage("a line of the PROXY protocol has no end")
        return None
    words = data[:end].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(None, end + 2)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise InvalidMessage("a line of the PROXY protocol names no addresses")
    try:
        source = ip_address(words[2])
        port = int(words[4]) if words[4].isdecimal() else -1
    except ValueError:
        raise InvalidMessage("a line of the PROXY protocol has a bad address") from None
    if source.version != int(words[1][3]) or not 0 <= port <= 65535:
        raise InvalidMessage("a line of the PROXY protocol has a bad address")
    return ProxyHeader((str(source), port), end + 2)


def _read_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < FIXED_LENGTH:
        return None
    version, command = data[12] >> 4, data[12] & 15
    size = int.from_bytes(data[14:16], "big")
    if version != 2 or command not in (_LOCAL, _PROXY) or size > MAX_ADDRESSES:
        raise InvalidMessage("a header of the PROXY protocol is of no known kind")
    end = FIXED_LENGTH + size
    if len(data) < end:
        return None
    length = _LENGTHS.get(data[13])
    if command == _LOCAL or length is None:
        return ProxyHeader(None, end)
    if size < 2 * length + 4:
        raise InvalidMessage("a header of the PROXY protocol is too short")
    source = ip_address(data[FIXED_LENGTH : FIXED_LENGTH + length])
    ports = FIXED_LENGTH + 2 * length
    return ProxyHeader((str(source), int.from_bytes(data[ports : ports + 2])), end)
