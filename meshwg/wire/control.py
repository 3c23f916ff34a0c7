"""The messages between nodes and coordinator, and their bytes.

A message is a JSON object whose ``type`` names it. Fields and types that a side does
not know are ignored, so either side may be the newer one; what would change the meaning
of what is here gets a new :data:`PROTOCOL` number. ``docs/protocol.md`` is the prose to
this file.

On the wire a message is a *payload*: one byte that says how the rest is packed, plain
(0) or zlib (1), and the JSON text. :mod:`meshwg.wire.channel` encrypts payloads.
"""

import hashlib
import ipaddress
import zlib
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from meshwg.errors import InvalidMessage
from meshwg.keys import format_key, parse_key

PROTOCOL: Final = 1
"""Number of this protocol; a coordinator refuses numbers it does not speak."""

MAX_NODE_PAYLOAD: Final = 32 * 1024
"""Bytes of the largest payload a node may send."""
MAX_COORDINATOR_PAYLOAD: Final = 16 * 1024 * 1024
"""Bytes of the largest payload a coordinator may send."""
MAX_JSON: Final = 64 * 1024 * 1024
"""Bytes of the largest JSON text of a coordinator, unpacked."""
MAX_OFFER: Final = 6 * 1024
"""Bytes of the largest offer as JSON. It has to fit into a PostgreSQL notification."""
MAX_CANDIDATES: Final = 64
MAX_ROUTES: Final = 64

_PLAIN, _ZLIB = b"\x00", b"\x01"
_COMPRESS_FROM = 256
_COMPRESSION_LEVEL = 3
"""Level 6 takes twice the time of level 3 on a netmap, to save 6 % of its bytes."""


_Decoded = TypeVar("_Decoded")


def _canonical_key(text: str) -> str:
    return format_key(parse_key(text))


def _canonical_address(text: str) -> str:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise ValueError("A zone means nothing on another machine")
    return str(address)


def _canonical_prefix(text: str) -> str:
    return str(ipaddress.ip_network(text))


def _printable(text: str) -> str:
    """Return the text without what could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _short(length: int) -> StringConstraints:
    return StringConstraints(max_length=length)


PublicKey = Annotated[str, _short(44), AfterValidator(_canonical_key)]
"""An X25519 public key in WireGuard's base64 form."""
Address = Annotated[str, _short(45), AfterValidator(_canonical_address)]
"""A numeric IPv4 or IPv6 address without a zone."""
Prefix = Annotated[str, _short(49), AfterValidator(_canonical_prefix)]
"""A network in CIDR form, without host bits."""
Port = Annotated[int, Field(ge=1, le=65535)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
"""One of a set of words that may grow: ``host``, ``hub``, ``port-restricted-cone``."""
Name = Annotated[str, _short(63)]
Sentence = Annotated[str, _short(512), AfterValidator(_printable)]
Url = Annotated[str, _short(255)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class Model(BaseModel):
    """A value of the protocol: immutable; fields that it does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ReportedCandidate(Model):
    """An address where a node may be reached (RFC 8445)."""

    kind: Word
    """``host``, ``reflexive``, ``port-mapped``, ``peer-reflexive``, ``predicted``,
    ``relay``; a receiver skips kinds that it does not know."""
    host: Address
    port: Port


class ReportedNat(Model):
    """What a node found out about the NAT in front of it, in RFC 4787's words."""

    reachable: bool = False
    public: Annotated[str, _short(53)] | None = None
    """``ip:port`` as the outside sees it."""
    mapping: Word = "unknown"
    filtering: Word = "unknown"
    type: Word = "unknown"
    port_preserving: bool | None = None
    port_allocation: Word = "unknown"
    port_delta: int | None = None
    hairpinning: bool | None = None
    lifetime_s: float | None = None


class NatReport(Model):
    """A :class:`ReportedNat` for each address family that was looked at."""

    ipv4: ReportedNat | None = None
    ipv6: ReportedNat | None = None


class Relay(Model):
    """A TURN server (RFC 8656) with credentials for one node."""

    url: Url
    """``turn:HOST:PORT?transport=udp|tcp`` or ``turns:…`` (RFC 7065)."""
    username: Annotated[str, _short(128)]
    password: Annotated[str, _short(128)] = Field(repr=False)
    expires: float
    """Unix time after which the relay refuses the credentials."""


class PeerEntry(Model):
    """A node as all others see it."""

    public_key: PublicKey
    name: Name
    addresses: tuple[Address, ...]
    """Its mesh addresses: one IPv4, one IPv6."""
    version: Count
    """The netmap version that changed this peer last."""
    online: bool = False
    """It is connected to a coordinator. Paths to it may live without that."""
    role: Word = "node"
    """``hub`` forwards between others."""
    routes: Annotated[tuple[Prefix, ...], Field(max_length=MAX_ROUTES)] = ()
    """Networks behind it, beyond its own addresses."""
    candidates: Annotated[
        tuple[ReportedCandidate, ...], Field(max_length=MAX_CANDIDATES)
    ] = ()
    nat: NatReport | None = None


# From a node.


class Register(Model):
    """The first message: who I am, and what I know already."""

    type: Literal["register"] = "register"
    protocol: int = PROTOCOL
    name: Annotated[str, _short(255)]
    auth_key: Annotated[str, _short(64)] | None = Field(default=None, repr=False)
    """``number.secret`` of the join token; a member needs none."""
    software: Annotated[str, _short(64)] = ""
    role: Word = "node"
    routes: Annotated[tuple[Prefix, ...], Field(max_length=MAX_ROUTES)] = ()
    epoch: Annotated[str, _short(64)] = ""
    """The mesh that :attr:`version` belongs to; empty without a netmap."""
    version: Count = 0
    """The netmap this node holds, from which deltas may go on."""
    candidates: Annotated[
        tuple[ReportedCandidate, ...], Field(max_length=MAX_CANDIDATES)
    ] = ()
    nat: NatReport | None = None


class Report(Model):
    """Where I am reachable has changed."""

    type: Literal["report"] = "report"
    candidates: Annotated[
        tuple[ReportedCandidate, ...], Field(max_length=MAX_CANDIDATES)
    ] = ()
    nat: NatReport | None = None


class Resync(Model):
    """My netmap does not add up: send all of it."""

    type: Literal["resync"] = "resync"


class Leave(Model):
    """I stop now, on purpose."""

    type: Literal["leave"] = "leave"


# Both ways.


class OfferMessage(Model):
    """Let us look for a path: what the sender is reachable at, right now."""

    type: Literal["offer"] = "offer"
    to: PublicKey
    sender: PublicKey | None = None
    """Set by the coordinator; what a node writes here is overwritten."""
    observed: Address | None = None
    """Where the sender's connection to the coordinator comes from, set likewise. Only
    an address that somebody else saw is worth hundreds of packets."""
    sequence: Count
    """Grows with each offer that one process makes to one peer, so that an old one is
    recognized."""
    candidates: Annotated[
        tuple[ReportedCandidate, ...], Field(max_length=MAX_CANDIDATES)
    ] = ()
    nat: NatReport | None = None
    extension: dict[str, Any] = Field(default_factory=dict)
    """What path agents agree on among themselves; the coordinator passes it on."""


class Ping(Model):
    """Answer this at once."""

    type: Literal["ping"] = "ping"
    id: Count


class Pong(Model):
    """The answer to a :class:`Ping`."""

    type: Literal["pong"] = "pong"
    id: Count


# From the coordinator.


class Registered(Model):
    """Welcome: what this mesh is, and who you are in it."""

    type: Literal["registered"] = "registered"
    epoch: Annotated[str, _short(64)]
    name: Name
    addresses: tuple[Address, ...]
    networks: tuple[Prefix, ...]
    """The whole mesh, one prefix a family."""
    notice: Sentence = ""
    """For the user: the name was taken, and the like."""
    heartbeat: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Seconds after which the node sends a heartbeat if it sent nothing else."""
    silence: Annotated[float, Field(gt=0, le=300)] = 25.0
    """Seconds of hearing nothing after which the node may take the link for dead."""
    spread: Annotated[float, Field(ge=0, le=30)] = 1.0
    """Seconds over which nodes spread their first attempt to reconnect."""
    observed: Address | None = None
    """The address the connection came from."""
    time: float = 0.0
    """The coordinator's Unix time, to tell a wrong clock by."""
    stun: Annotated[tuple[Url, ...], Field(max_length=16)] = ()
    """STUN servers as ``host:port``."""
    relays: Annotated[tuple[Relay, ...], Field(max_length=16)] = ()


class NetMap(Model):
    """All peers, the receiver among them."""

    type: Literal["netmap"] = "netmap"
    version: Count
    digest: Annotated[str, _short(16)]
    peers: tuple[PeerEntry, ...]


class Delta(Model):
    """What changed between two versions."""

    type: Literal["delta"] = "delta"
    base: Count
    """The version it applies to; it also applies to any later one up to `version`."""
    version: Count
    digest: Annotated[str, _short(16)]
    """Of the whole netmap after the change, see :func:`peer_digest`."""
    changed: tuple[PeerEntry, ...] = ()
    removed: tuple[PublicKey, ...] = ()


class Credentials(Model):
    """New relay credentials, before the old ones expire."""

    type: Literal["credentials"] = "credentials"
    relays: Annotated[tuple[Relay, ...], Field(max_length=16)] = ()


class Revoked(Model):
    """You are no longer a member; the connection ends."""

    type: Literal["revoked"] = "revoked"
    reason: Sentence


class CloseCode(IntEnum):
    """WebSocket close codes of the coordinator, for what no message can say."""

    NORMAL = 1000
    """The node said that it leaves."""
    RESTART = 1012
    """The coordinator is being restarted."""
    WRONG_KEY = 4001
    """The initiation was made for another coordinator."""
    MALFORMED = 4002
    """A frame was no binary message, too large, or not authentic."""
    SILENT = 4003
    """The node was not heard for too long, or did not register in time."""
    REFUSED = 4004
    """After a fatal ``error`` or ``revoked``, which says why."""
    SLOW = 4005
    """The node does not read what it is sent."""


class ErrorCode(StrEnum):
    """Why a message was refused."""

    PROTOCOL = "protocol"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many"
    TOKEN_UNKNOWN = "token-unknown"
    TOKEN_EXPIRED = "token-expired"
    TOKEN_USED = "token-used"
    TOKEN_REVOKED = "token-revoked"
    NOT_A_MEMBER = "not-a-member"
    NODE_EXPIRED = "node-expired"
    MESH_FULL = "mesh-full"
    REPLACED = "replaced"
    UNKNOWN_PEER = "unknown-peer"
    PEER_OFFLINE = "peer-offline"
    TRY_AGAIN = "try-again"
    SHUTTING_DOWN = "shutting-down"


class Error(Model):
    """A message was refused; if fatal, the connection ends."""

    type: Literal["error"] = "error"
    code: Word
    """An :class:`ErrorCode`, or one that a newer coordinator knows."""
    message: Sentence
    fatal: bool = False
    to: PublicKey | None = None
    """The peer of a refused offer."""


# On a node's disk.


class Cache(Model):
    """What a node keeps to start without its coordinator."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    registered: Registered
    version: Count
    peers: tuple[PeerEntry, ...]

    model_config = ConfigDict(frozen=True, extra="ignore", serialize_by_alias=True)


def load_cache(text: bytes) -> Cache:
    """Return the cache that a node wrote.

    :raises InvalidMessage: if the text is damaged, or of another version of meshwg.
    """
    try:
        return Cache.model_validate_json(text)
    except ValidationError:
        raise InvalidMessage(
            "The cached netmap is damaged; it is ignored and fetched again"
        ) from None


FromNode = Register | Report | OfferMessage | Ping | Pong | Resync | Leave
FromCoordinator = (
    Registered
    | NetMap
    | Delta
    | OfferMessage
    | Ping
    | Pong
    | Credentials
    | Revoked
    | Error
)
Message = FromNode | FromCoordinator

_FROM_NODE: TypeAdapter[FromNode] = TypeAdapter(
    Annotated[FromNode, Field(discriminator="type")]
)
_FROM_COORDINATOR: TypeAdapter[FromCoordinator] = TypeAdapter(
    Annotated[FromCoordinator, Field(discriminator="type")]
)


def encode(message: Message) -> bytes:
    """Return the payload of a message."""
    return pack(message.model_dump_json(exclude_none=True).encode())


def pack(text: bytes) -> bytes:
    """Return the payload of a JSON text, compressed if that is worth it."""
    if len(text) < _COMPRESS_FROM:
        return _PLAIN + text
    return _ZLIB + zlib.compress(text, _COMPRESSION_LEVEL)


def decode_from_node(payload: bytes) -> FromNode | None:
    """Return a node's message, ``None`` if its type is unknown.

    :raises InvalidMessage: if it is too large or malformed.
    """
    if len(payload) > MAX_NODE_PAYLOAD:
        raise InvalidMessage("A message of a node is too large")
    return _decode(_FROM_NODE.validate_json, unpack(payload, MAX_NODE_PAYLOAD))


def decode_from_coordinator(payload: bytes) -> FromCoordinator | None:
    """Return a coordinator's message, ``None`` if its type is unknown.

    :raises InvalidMessage: if it is too large or malformed.
    """
    if len(payload) > MAX_COORDINATOR_PAYLOAD:
        raise InvalidMessage("A message of the coordinator is too large")
    return _decode(_FROM_COORDINATOR.validate_json, unpack(payload, MAX_JSON))


def unpack(payload: bytes, limit: int) -> bytes:
    """Return the JSON text of a payload.

    :param limit: the most bytes it may unpack to.
    :raises InvalidMessage: if it is packed in an unknown way, or too large.
    """
    kind, text = payload[:1], payload[1:]
    if kind == _PLAIN:
        return text
    if kind != _ZLIB:
        raise InvalidMessage("A message is packed in an unknown way")
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(text, limit)
    except zlib.error:
        raise InvalidMessage("A message is not valid zlib data") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise InvalidMessage("A message is too large when unpacked, or truncated")
    return unpacked


def peer_digest(public_key: str, version: int) -> int:
    """Return the 64 bits that one peer adds to a netmap's digest.

    The digest of a netmap is the exclusive or over its peers, as 16 hexadecimal digits.
    Either side keeps it up to date at the cost of a change, and a node whose digest
    differs asks for the whole netmap. It guards against mistakes, not against anyone.
    """
    text = f"{public_key} {version}".encode()
    return int.from_bytes(hashlib.blake2s(text, digest_size=8).digest())


def format_digest(digest: int) -> str:
    """Return a netmap's digest as messages carry it."""
    return f"{digest:016x}"


def _decode(validate: Callable[[bytes], _Decoded], text: bytes) -> _Decoded | None:
    try:
        return validate(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        place = ".".join(str(part) for part in first["loc"][1:4]) or "JSON"
        raise InvalidMessage(f"A message is malformed at {place[:80]}") from None
