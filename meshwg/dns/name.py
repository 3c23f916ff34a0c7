"""Domain names (RFC 1035 section 3.1) as bytes: labels with their lengths, no pointers.

Length bytes are below 64 and letters are not, so ``bytes.lower`` makes the canonical
form of a whole name. What is not a letter, a digit or one of ``-_`` shows as ``\\DDD``
in texts, so that no name can move a terminal's cursor.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

ROOT = b"\x00"
MAX_NAME = 255
"""Bytes of a name."""
MAX_LABEL = 63
MAX_LABELS = 128

IPNetwork = IPv4Network | IPv6Network

REVERSE4 = b"\x07in-addr\x04arpa\x00"
REVERSE6 = b"\x03ip6\x04arpa\x00"
_PLAIN = re.compile(rb"[A-Za-z0-9_-]+")
_ESCAPE = re.compile(r"\\(\d{3})", re.ASCII)
_NIBBLES = b"0123456789abcdef"


def to_wire(text: str) -> bytes:
    """Return a name's canonical form; with or without a dot at its end.

    :raises ValueError: if it is too long, or has an empty label.
    """
    stripped = text.removesuffix(".")
    if not stripped:
        return ROOT
    wire = b"".join(map(_label, stripped.split("."))) + ROOT
    if len(wire) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME - 2} letters")
    return wire.lower()


def to_text(wire: bytes) -> str:
    """Return a name as a person reads it, without the dot at its end."""
    shown = [_show(label) for label in labels(wire)]
    return ".".join(shown) or "."


def labels(wire: bytes) -> Iterator[bytes]:
    """Yield the labels of a name, the leftmost first."""
    at = 0
    while length := wire[at]:
        yield wire[at + 1 : at + 1 + length]
        at += 1 + length


def suffixes(wire: bytes) -> Iterator[bytes]:
    """Yield a name and the names above it, but not the root."""
    at = 0
    while wire[at]:
        yield wire[at:]
        at += 1 + wire[at]


def is_within(wire: bytes, apex: bytes) -> bool:
    """Tell whether a canonical name is another one, or below it."""
    return wire.endswith(apex) and (apex == ROOT or apex in suffixes(wire))


def reverse_name(address: str) -> bytes:
    """Return the name at which an address's PTR record stands (RFC 1035, RFC 3596)."""
    packed = ip_address(address).packed
    if len(packed) == 4:
        numbers = [str(byte).encode() for byte in reversed(packed)]
        return b"".join(bytes([len(each)]) + each for each in numbers) + REVERSE4
    digits = packed.hex().encode()
    return b"".join(bytes([1, digit]) for digit in reversed(digits)) + REVERSE6


def reverse_prefix(wire: bytes) -> IPNetwork | None:
    """Return the network that a reverse name stands for, an address for a whole one.

    :param wire: in canonical form.
    """
    parts = list(labels(wire))
    if is_within(wire, REVERSE4):
        return _prefix4(parts[:-2])
    if is_within(wire, REVERSE6):
        return _prefix6(parts[:-2])
    return None


def reverse_zones(network: IPNetwork) -> list[bytes]:
    """Return the names of the reverse zones that make up a network.

    A network that ends between two labels has several, up to 128.
    """
    step = 8 if network.version == 4 else 4
    length = network.prefixlen
    parts: list[IPNetwork] = [*network.subnets(new_prefix=length + -length % step)]
    skipped = (network.max_prefixlen - parts[0].prefixlen) // step
    found = []
    for part in parts:
        name = reverse_name(str(part.network_address))
        for _ in range(skipped):
            name = name[1 + name[0] :]
        found.append(name)
    return found


def _label(text: str) -> bytes:
    label = _ESCAPE.sub(lambda found: chr(int(found[1])), text)
    try:
        raw = label.encode("latin-1" if "\\" in text else "ascii")
    except UnicodeEncodeError:
        raise ValueError("a name is written in ASCII") from None
    if not 0 < len(raw) <= MAX_LABEL:
        raise ValueError(f"a label has 1 to {MAX_LABEL} letters")
    return bytes([len(raw)]) + raw


def _show(label: bytes) -> str:
    if _PLAIN.fullmatch(label):
        return label.decode()
    return "".join(
        chr(byte) if _PLAIN.match(bytes([byte])) else f"\\{byte:03d}" for byte in label
    )


def _prefix4(parts: list[bytes]) -> IPNetwork | None:
    numbers = [int(each) for each in reversed(parts) if each.isdigit()]
    if len(numbers) != len(parts) or len(parts) > 4 or max(numbers, default=0) > 255:
        return None
    if any(str(number).encode() not in parts for number in numbers):
        # With a zero in front it is another name.
        return None
    packed = bytes(numbers).ljust(4, b"\x00")
    return ip_network((packed, 8 * len(numbers)))


def _prefix6(parts: list[bytes]) -> IPNetwork | None:
    if len(parts) > 32 or any(len(p) != 1 or p not in _NIBBLES for p in parts):
        return None
    digits = b"".join(reversed(parts)).ljust(32, b"0").decode()
    return ip_network((bytes.fromhex(digits), 4 * len(parts)))
