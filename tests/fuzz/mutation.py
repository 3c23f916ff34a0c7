"""Messages that are nearly right: bytes, JSON, STUN, WireGuard and IP.

Mutations that keep the structure get further than random bytes, which nearly always
fail at the first look. So lengths are corrected, and messages signed again by keys that
an attacker may have: a member, a relay, a coordinator.
"""

import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

from meshwg.wire.stun import COOKIE, HEADER_LENGTH, Attribute, Class, Method

INTERESTING = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 64, 127, 128, 255, 256, 1500)
LONGEST_DATAGRAM = 65_507
"""Bytes of UDP's over IPv4."""
LONGEST = 65_000
"""Bytes of a value of STUN that are written."""
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)

WEIRD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 65535, 65536, 2**31, 2**63, 2**64, 10**400),
    *(0.5, -0.0, 1e308, -1e308, float("inf"), float("nan")),
    *("", " ", "\0", "\ud800", "é" * 100, "a" * 300, "x" * 5000, "\n", "%s%n"),
    *("127.0.0.1", "::1%eth0", "0.0.0.0", "::ffff:1.2.3.4", "224.0.0.1", "1.2.3"),
    *("0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::%1/64", "fe80::/10", "10.0.0.1/8"),
    *("A" * 43 + "=", "mwg1-x", "turn:[::1", "turn:x:99999?transport=sctp", "host:0"),
    *([], {}, [[]], [None] * 100, {"type": "offer"}, {"": ""}),
)

_DEEP = "DEEP"
"""Stands for lists in lists, deeper than a program can write them."""


def mutate(random: Random, data: bytes) -> bytes:
    """Return bytes that differ in one to four places."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(_BYTES)(random, data)
    return data[:LONGEST_DATAGRAM]


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return b"\0"
    at = random.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]


def _overwrite(random: Random, data: bytes) -> bytes:
    size = random.choice((1, 2, 4))
    at = random.randrange(max(1, len(data) - size + 1))
    value = random.choice(INTEGERS) & (1 << 8 * size) - 1
    order = random.choice(("big", "little"))
    new = value.to_bytes(size, "big" if order == "big" else "little")
    return data[:at] + new + data[at + size :]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randint(0, len(data))]


def _extend(random: Random, data: bytes) -> bytes:
    return data + random.randbytes(random.choice(INTERESTING))


def _remove(random: Random, data: bytes) -> bytes:
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes) -> bytes:
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    return data[:end] + data[start:end] * random.choice((1, 2, 50)) + data[end:]


def _randomise(random: Random, data: bytes) -> bytes:
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    return data[:start] + random.randbytes(end - start) + data[end:]


_BYTES = (_flip, _flip, _overwrite, _cut, _extend, _remove, _repeat, _randomise)


def noise(random: Random) -> bytes:
    """Return random bytes, some of which begin as messages do."""
    starts = (b"", b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0", b"\0\1", b"\x40")
    return random.choice(starts) + random.randbytes(random.choice(INTERESTING))


# JSON.


def mutate_json(random: Random, text: bytes) -> bytes:
    """Return JSON that differs in values, fields and types; sometimes none at all."""
    if random.random() < 0.1:
        return mutate(random, text)
    try:
        value = json.loads(text)
    except ValueError:
        return mutate(random, text)
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _changed(random, value)
    depth = random.choice((10, 200, 3000, 30_000))
    written = json.dumps(value).replace(f'"{_DEEP}"', "[" * depth + "]" * depth)
    return written.encode("utf-8", "surrogatepass")[:1_000_000]


def _changed(random: Random, value: Any) -> Any:
    """Return a value with something else somewhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        return _changed_field(random, value, key)
    if isinstance(value, list) and value and random.random() < 0.7:
        at = random.randrange(len(value))
        choice = random.random()
        if choice < 0.2:
            return value[:at] + value[at + 1 :]
        if choice < 0.4:
            return value + [value[at]] * random.choice((1, 2, 100))
        return [*value[:at], _changed(random, value[at]), *value[at + 1 :]]
    if isinstance(value, int | float) and random.random() < 0.4:
        return value + random.choice((-1, 1, 2**32))
    if isinstance(value, str) and random.random() < 0.4:
        text = mutate(random, value.encode("utf-8", "surrogatepass"))
        return text.decode("utf-8", "replace")
    return random.choice(WEIRD_VALUES)


def _changed_field(random: Random, value: dict[str, Any], key: str) -> dict[str, Any]:
    choice = random.random()
    if choice < 0.1:
        return {name: each for name, each in value.items() if name != key}
    if choice < 0.15:
        return value | {key + "_": value[key]}
    if choice < 0.2:
        return value | {key: value[random.choice(list(value))]}
    if choice < 0.22:
        return value | {key: _DEEP}
    return value | {key: _changed(random, value[key])}


def pack(random: Random, text: bytes) -> bytes:
    """Return a control payload of a text: plain, compressed, or neither."""
    choice = random.random()
    if choice < 0.6:
        return b"\0" + text
    if choice < 0.9:
        return b"\1" + zlib.compress(text)
    return random.choice((b"\2", b"", b"\1")) + text


def unpack(payload: bytes) -> bytes:
    """Return the text of a control payload that is well-formed."""
    return payload[1:] if payload[:1] == b"\0" else zlib.decompress(payload[1:])


# STUN and TURN.


def mutate_stun(random: Random, data: bytes, keys: Sequence[bytes] = ()) -> bytes:
    """Return a message with other attributes, well-formed, and perhaps signed."""
    if len(data) < HEADER_LENGTH or random.random() < 0.15:
        return mutate(random, data)
    kind, transaction_id = int.from_bytes(data[:2]), data[8:HEADER_LENGTH]
    attributes = _attributes(data)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        attributes = _change_attributes(random, attributes)
    if random.random() < 0.15:
        kind = random.choice(list(Method)) | random.choice(list(Class))
    if random.random() < 0.1:
        transaction_id = random.randbytes(12)
    key = random.choice(keys) if keys and random.random() < 0.8 else None
    return build_stun(kind, transaction_id, attributes, key, random.random() < 0.5)


def build_stun(
    kind: int,
    transaction_id: bytes,
    attributes: Sequence[tuple[int, bytes]],
    key: bytes | None = None,
    fingerprint: bool = False,
) -> bytes:
    """Return a message of any attributes, signed if there is a key (RFC 8489)."""
    body = b"".join(
        struct.pack("!HH", each, len(value)) + value + bytes(-len(value) % 4)
        for each, value in ((each, value[:LONGEST]) for each, value in attributes)
    )[:60_000]
    body = body[: len(body) - len(body) % 4]

    def head(length: int) -> bytes:
        return struct.pack("!HH", kind, length) + COOKIE + transaction_id

    if key is not None:
        signed = head(len(body) + 24) + body
        digest = hmac.digest(key, signed, "sha1")
        body += struct.pack("!HH", Attribute.MESSAGE_INTEGRITY, 20) + digest
    if fingerprint:
        crc = zlib.crc32(head(len(body) + 8) + body) ^ 0x5354554E
        body += struct.pack("!HHI", Attribute.FINGERPRINT, 4, crc)
    return head(len(body)) + body


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    """Return the attributes of a message as they stand there, but no signatures."""
    found, at = [], HEADER_LENGTH
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        if kind not in (Attribute.MESSAGE_INTEGRITY, Attribute.FINGERPRINT):
            found.append((kind, data[at + 4 : at + 4 + length]))
        at += 4 + length + -length % 4
    return found


def _change_attributes(
    random: Random, attributes: list[tuple[int, bytes]]
) -> list[tuple[int, bytes]]:
    known = [int(each) for each in Attribute]
    other = random.choice([*known, random.randrange(0x10000)])
    choice = random.random()
    if not attributes or choice < 0.2:
        value = random.randbytes(random.choice(INTERESTING))
        return [*attributes, (other, value)]
    at = random.randrange(len(attributes))
    kind, value = attributes[at]
    before, after = attributes[:at], attributes[at + 1 :]
    if choice < 0.3:
        return before + after
    if choice < 0.4:
        return before + [(kind, value)] * random.choice((2, 3, 150)) + after
    if choice < 0.5:
        return random.sample(attributes, len(attributes))
    if choice < 0.6:
        return [*before, (other, value), *after]
    return [*before, (kind, mutate(random, value)), *after]


# WireGuard and IP.


def mutate_wireguard(random: Random, data: bytes, receiver: bytes) -> bytes:
    """Return a message with a right mac1, if it has one.

    :param receiver: the public key of who gets it, which is no secret.
    """
    changed = mutate(random, data)
    if len(changed) in (148, 92) and random.random() < 0.8:
        key = hashlib.blake2s(b"mac1----" + receiver).digest()
        signed = changed[:-32]
        mac = hashlib.blake2s(signed, key=key, digest_size=16).digest()
        changed = signed + mac + changed[-16:]
    return changed


def ip_packet(random: Random, source: bytes, destination: bytes) -> bytes:
    """Return an IP packet between two addresses that is strange elsewhere."""
    payload = random.randbytes(random.choice(INTERESTING))
    protocol = random.choice((1, 6, 17, 58, 0, 44, 41, random.randrange(256)))
    if len(destination) == 16:
        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        packet = head + source + destination + payload
    else:
        fragment = random.choice((0, 0, 0x4000, 0x2000, 0x1FFF))
        length = 20 + len(payload)
        head = struct.pack("!BBHHHBBH", 0x45, 0, length, 1, fragment, 64, protocol, 0)
        packet = head + source + destination + payload
    if random.random() < 0.4:
        fixed = 40 if len(destination) == 16 else 20
        packet = packet[:fixed] + mutate(random, packet[fixed:])
    if random.random() < 0.2:
        packet = mutate(random, packet)
    return packet


def chunks(random: Random, data: bytes) -> list[bytes]:
    """Return the parts in which a stream may bring these bytes."""
    parts = []
    while data:
        size = random.choice((1, 2, 3, 20, 100, 1000, 70_000))
        parts.append(data[:size])
        data = data[size:]
    return parts
