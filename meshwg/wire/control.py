"""The messages between nodes and coordinator, and their bytes.

A message is a JSON object whose ``type`` names it. Fields and types that a side does
not know are ignored, so either side may be the newer one; what would change the meaning
of what is here gets a new :data:`PROTOCOL` number. ``docs/protocol.md`` is the prose to
this file.

On the wire a message is a *payload*: one byte that says how the rest is packed, plain
(0) or zlib (1), and the JSON text. :mod:`meshwg.wire.channel` encrypts payloads.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal, get_args

from meshwg.errors import InvalidMessage
from meshwg.schema import Malformed, Matching, MaxLength, Within, plain, read
from meshwg.wire.dnsrecords import MAX_RECORDS, DnsRecord
from meshwg.wire.fields import (
    Address,
    Count,
    Domain,
    Label,
    Name,
    Port,
    Prefix,
    PublicKey,
    Sentence,
    UnixTime,
    Url,
    Word,
)
from meshwg.wire.routes import (
    MAX_ROUTES,
    OfferedRoutes,
    RouteState,
    ToldRoutes,
    Traits,
    WishState,
)

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
MAX_SERVICE_TOKEN: Final = 8 * 1024
"""Letters of a service-account token: those of Kubernetes 1.37 have some 1,300."""
MAX_CANDIDATES: Final = 64
MAX_FLOWS: Final = 128
"""In one message about them."""
MAX_TAGS: Final = 32
"""Of one node that others are told of."""
MAX_COORDINATORS: Final = 16
"""Of one mesh that nodes are told of."""
MAX_ADDRESSES: Final = 16
"""Of one node, and networks of the mesh: one a family, and room for more."""
MAX_SLICE: Final = 256
"""Nodes in one slice of a netmap; a coordinator sends fewer."""
MAX_NODES: Final = (1 << 16) + 1
"""Nodes that a netmap can have: as many peers as a WireGuard device, and itself."""

Coordinators = Annotated[tuple[Url, ...], MaxLength(MAX_COORDINATORS)]
"""URLs of coordinators."""

_PLAIN, _ZLIB = b"\x00", b"\x01"
_COMPRESS_FROM = 256
_COMPRESSION_LEVEL = 3
"""Level 6 takes twice the time of level 3 on a netmap, to save 6 % of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCandidate:
    """An address where a node may be reached (RFC 8445)."""

    kind: Word
    """``host``, ``reflexive``, ``port-mapped``, ``peer-reflexive``, ``predicted``,
    ``relay``; a receiver skips kinds that it does not know."""
    host: Address
    port: Port


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedNat:
    """What a node found out about the NAT in front of it, in RFC 4787's words."""

    reachable: bool = False
    public: Annotated[str, Matching(r"[0-9A-Fa-f.:\[\]]{1,53}")] | None = None
    """``ip:port`` as the outside sees it."""
    mapping: Word = "unknown"
    filtering: Word = "unknown"
    type: Word = "unknown"
    port_preserving: bool | None = None
    port_allocation: Word = "unknown"
    port_delta: Annotated[int, Within(ge=-65535, le=65535)] | None = None
    hairpinning: bool | None = None
    lifetime_s: Annotated[float, Within(ge=0, le=1e9)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NatReport:
    """A :class:`ReportedNat` for each address family that was looked at."""

    ipv4: ReportedNat | None = None
    ipv6: ReportedNat | None = None
    lacks_ipv6: bool | None = None
    """Whether IPv6 is switched off on the node's own interface, so that it cannot have
    its IPv6 address in the mesh. It stands here since coordinators pass this on whole.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A TURN server (RFC 8656) with credentials for one node."""

    url: Url
    """``turn:HOST:PORT?transport=udp|tcp`` or ``turns:…`` (RFC 7065), or that of a
    WebSocket that carries TURN, ``wss://HOST/PATH``. Others are passed over."""
    username: Annotated[str, MaxLength(128)]
    password: Annotated[str, MaxLength(128)] = field(repr=False)
    expires: UnixTime
    """Unix time after which the relay refuses the credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEntry:
    """A node as all others see it."""

    public_key: PublicKey
    name: Name
    addresses: Annotated[tuple[Address, ...], MaxLength(MAX_ADDRESSES)]
    """Its mesh addresses: one IPv4, one IPv6."""
    version: Count
    """The netmap version that changed this peer last."""
    online: bool = False
    """It is connected to a coordinator. Paths to it may live without that."""
    role: Word = "node"
    """``hub`` forwards between others; ``plain`` is WireGuard without meshwg, see
    :attr:`via`."""
    routes: ToldRoutes = ()
    """Networks behind it, beyond its own addresses. Several peers may have the same
    one: who sends there chooses among them."""
    traits: Traits = ()
    """Of those of its routes that are not as all others."""
    exit: bool = False
    """The internet is behind it, too, for those who choose that."""
    candidates: Annotated[tuple[ReportedCandidate, ...], MaxLength(MAX_CANDIDATES)] = ()
    nat: NatReport | None = None
    ephemeral: bool = False
    """It is removed when it leaves, and each run of it may have a new key."""
    policy_class: Count = 0
    """The number of its class, see :class:`PolicyMessage`; 0 where there is none."""
    owner: Label = ""
    """The user it belongs to; empty for nobody."""
    tags: Annotated[tuple[Name, ...], MaxLength(MAX_TAGS)] = ()
    """What it is, to policies."""
    hub_since: Count = 0
    """Of a hub: the Unix time since which it may be one. The first are preferred."""
    via: PublicKey | None = None
    """The hub that packets to a plain peer go through. That hub itself has the peer on
    its device, as any WireGuard peer."""


# From a node.


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """The first message: who I am, and what I know already."""

    type: Literal["register"] = "register"
    protocol: Count = PROTOCOL
    name: Annotated[str, MaxLength(255)]
    auth_key: Annotated[str, MaxLength(64)] | None = field(default=None, repr=False)
    """``number.secret`` of the join token; a member needs none."""
    service_token: Annotated[str, MaxLength(MAX_SERVICE_TOKEN)] | None = field(
        default=None, repr=False
    )
    """What a Kubernetes cluster says of the node and of the pod that it is: a token of
    its service account, bound to both."""
    software: Annotated[str, MaxLength(64)] = ""
    role: Word = "node"
    routes: OfferedRoutes = ()
    traits: Traits = ()
    exit: bool = False
    """It offers itself as an exit."""
    epoch: Annotated[str, MaxLength(64)] = ""
    """The mesh that :attr:`version` belongs to; empty without a netmap."""
    version: Count = 0
    """The netmap this node holds, from which deltas may go on."""
    records: Count = 0
    """The version of the :class:`Records` that it holds."""
    candidates: Annotated[tuple[ReportedCandidate, ...], MaxLength(MAX_CANDIDATES)] = ()
    nat: NatReport | None = None
    view: Annotated[str, MaxLength(64)] = ""
    """The view that the netmap is of, see :class:`PolicyMessage`; empty without one."""
    slices: bool = False
    """It takes netmaps and deltas in slices, see :attr:`Delta.through`."""
    through: Count = 0
    """The version that slices were to lead to when the last connection ended; 0 if all
    of them came. :attr:`version` is how far they led."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where I am reachable has changed, or what I offer."""

    type: Literal["report"] = "report"
    candidates: Annotated[tuple[ReportedCandidate, ...], MaxLength(MAX_CANDIDATES)] = ()
    nat: NatReport | None = None
    routes: OfferedRoutes | None = None
    """``None``: they, their traits, and whether this is an exit, are unchanged."""
    traits: Traits = ()
    exit: bool = False
    role: Word | None = None
    """``None``: unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """My netmap does not add up: send all of it."""

    type: Literal["resync"] = "resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """I stop now, on purpose."""

    for_good: bool = False
    """I give up my membership; a coordinator that does not know this keeps it."""

    type: Literal["leave"] = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFlow:
    """A flow that others have begun to the sender, or to what is behind it."""

    source: Address
    destination: Address
    port: Annotated[str, Matching(r"(tcp|udp)/[0-9]{1,5}|icmp")]
    """As policies write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFlows:
    """What the rules let pass, for those who are about to change them."""

    type: Literal["flows"] = "flows"
    flows: Annotated[tuple[SeenFlow, ...], MaxLength(MAX_FLOWS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerm:
    """What stands in a lease, in the words of those who compete for it."""

    holder: Annotated[str, MaxLength(300), Matching(r"[!-~]*")] = ""
    """Empty for nobody."""
    duration: Annotated[float, Within(ge=0, le=3600)] = 0.0
    """Seconds for which the others leave it to its holder after each write."""
    transitions: Count = 0
    """How often it went to another holder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseUse:
    """Tell me what is in a lease, or write into it if nobody else has meanwhile."""

    type: Literal["lease"] = "lease"
    id: Count
    """Comes back in the answer."""
    prefix: Prefix
    """The floating address that the lease is about."""
    base: Count = 0
    """The version that is to be replaced; 0 for a lease that is not there."""
    term: LeaseTerm | None = None
    """``None`` to read only."""


# Both ways.


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferMessage:
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
    candidates: Annotated[tuple[ReportedCandidate, ...], MaxLength(MAX_CANDIDATES)] = ()
    nat: NatReport | None = None
    extension: dict[str, Any] = field(default_factory=dict)
    """What path agents agree on among themselves; the coordinator passes it on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Answer this at once."""

    type: Literal["ping"] = "ping"
    id: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to a :class:`Ping`."""

    type: Literal["pong"] = "pong"
    id: Count


# From the coordinator.


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """Welcome: what this mesh is, and who you are in it."""

    type: Literal["registered"] = "registered"
    epoch: Annotated[str, MaxLength(64)]
    name: Name
    addresses: Annotated[tuple[Address, ...], MaxLength(MAX_ADDRESSES)]
    networks: Annotated[tuple[Prefix, ...], MaxLength(MAX_ADDRESSES)]
    """The whole mesh, one prefix a family."""
    notice: Sentence = ""
    """For the user: the name was taken, and the like."""
    heartbeat: Annotated[float, Within(gt=0, le=60)] = 3.0
    """Seconds after which the node sends a heartbeat if it sent nothing else."""
    silence: Annotated[float, Within(gt=0, le=300)] = 25.0
    """Seconds of hearing nothing after which the node may take the link for dead."""
    spread: Annotated[float, Within(ge=0, le=30)] = 1.0
    """Seconds over which nodes spread their first attempt to reconnect."""
    observed: Address | None = None
    """The address the connection came from."""
    time: UnixTime = 0.0
    """The coordinator's Unix time, to tell a wrong clock by."""
    domain: Domain = ""
    """What nodes' names end with, such as ``mesh.internal``; empty if it is not said.
    """
    stun: Annotated[tuple[Url, ...], MaxLength(16)] = ()
    """STUN servers as ``host:port``."""
    relays: Annotated[tuple[Relay, ...], MaxLength(16)] = ()
    policy: Count = 0
    """The version of the policy; 0 if there is none, and all is allowed."""
    coordinators: Coordinators = ()
    """Where the other coordinators of the mesh are, as URLs that join tokens have;
    empty if there are none, or that is not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetMap:
    """All peers, the receiver among them."""

    type: Literal["netmap"] = "netmap"
    version: Count
    digest: Annotated[str, MaxLength(16)]
    peers: tuple[PeerEntry, ...]
    through: Count | None = None
    """These are the first peers only, all that have not changed since :attr:`version`;
    deltas follow at once, up to this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What changed between two versions."""

    type: Literal["delta"] = "delta"
    base: Count
    """The version it applies to; it also applies to any later one up to `version`."""
    version: Count
    digest: Annotated[str, MaxLength(16)]
    """Of the whole netmap after the change, see :mod:`meshwg.wire.digest`."""
    changed: tuple[PeerEntry, ...] = ()
    removed: tuple[PublicKey, ...] = ()
    through: Count | None = None
    """This is a slice of what changed, and more of them follow at once, the last of
    which leads to this version. Only that one's :attr:`digest` means anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedClass:
    """Nodes that the policy does not tell apart."""

    number: Count
    labels: tuple[Label, ...] = ()
    """What the policy says of them: ``group:sre``, ``tag:db``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """Something that the policy allows."""

    sources: tuple[Count, ...] = ()
    """Numbers of classes; 0 stands for all, and for all addresses behind nodes."""
    source_prefixes: tuple[Prefix, ...] = ()
    """Addresses behind nodes."""
    destinations: tuple[Count, ...] = ()
    destination_prefixes: tuple[Prefix, ...] = ()
    internet: bool = False
    """Addresses behind no node are destinations, too."""
    ports: tuple[Annotated[str, MaxLength(32)], ...]
    """``tcp/5432``, ``tcp/9100-9110``, ``udp/*``, ``icmp`` or ``any``; a receiver does
    not allow what it does not know."""
    line: Count = 0
    """Where it stands in the policy's file."""
    note: Sentence = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMessage:
    """Who may reach what, as far as it concerns the receiver. What no rule allows is
    denied."""

    type: Literal["policy"] = "policy"
    version: Count
    sha256: Annotated[str, Matching(r"[0-9a-f]{64}")]
    """Of the policy's text."""
    own: Count
    """The number of the receiver's class."""
    view: Annotated[str, MaxLength(64)] = ""
    """Names what nodes of this class may see; netmaps are as of one view."""
    classes: tuple[NamedClass, ...] = ()
    rules: tuple[PolicyRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItselfMessage:
    """The receiver's own entry, where the netmap of its class does not have it."""

    type: Literal["itself"] = "itself"
    peer: PeerEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Records of the mesh's zone beside the names of nodes, or what changed of them."""

    type: Literal["records"] = "records"
    version: Count
    """The mesh's version that last changed any of them."""
    base: Count | None = None
    """The version of records that this applies to; ``None``: these are all."""
    added: Annotated[tuple[DnsRecord, ...], MaxLength(MAX_RECORDS)] = ()
    removed: Annotated[tuple[DnsRecord, ...], MaxLength(MAX_RECORDS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """What became of each thing that the receiver offers."""

    type: Literal["approvals"] = "approvals"
    routes: Annotated[tuple[RouteState, ...], MaxLength(MAX_ROUTES)] = ()
    exit: WishState | None = None
    """``None``: it does not offer to be one."""
    hub: WishState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseAnswer:
    """What is in a lease."""

    type: Literal["lease-answer"] = "lease-answer"
    id: Count
    """That of the :class:`LeaseUse`."""
    version: Count = 0
    """0 for a lease that is not there."""
    term: LeaseTerm = LeaseTerm()
    written: bool = False
    """It is so because the receiver has just written it."""
    refused: Sentence = ""
    """Why the receiver cannot use this lease, or not now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """New relay credentials, before the old ones expire."""

    type: Literal["credentials"] = "credentials"
    relays: Annotated[tuple[Relay, ...], MaxLength(16)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """My key is another one from now on: know me by that. It is said only on a
    connection that was made by the old one."""

    type: Literal["successor"] = "successor"
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """I am about to stop: connect to another coordinator, at a random time within these
    seconds, and leave this one when that has registered you."""

    type: Literal["elsewhere"] = "elsewhere"
    within: Annotated[float, Within(ge=0, le=60)] = 1.0
    coordinators: Coordinators = ()
    """Those that go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """A message was refused; if fatal, the connection ends."""

    type: Literal["error"] = "error"
    code: Word
    """An :class:`ErrorCode`, or one that a newer coordinator knows."""
    message: Sentence
    fatal: bool = False
    to: PublicKey | None = None
    """The peer of a refused offer."""
    epoch: Annotated[str, MaxLength(64)] | None = None
    """In whose name a node was refused: that of the mesh, as it is in the database."""
    version: Count | None = None
    """The mesh's version when a node was refused."""


# On a node's disk.


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """What a node keeps to start without its coordinator."""

    schema: Literal[1] = 1
    registered: Registered
    version: Count
    peers: tuple[PeerEntry, ...]
    policy: PolicyMessage | None = None
    itself: PeerEntry | None = None
    """The node's own entry, if the netmap does not have it."""
    records: Records | None = None


def load_cache(text: bytes) -> Cache:
    """Return the cache that a node wrote.

    :raises InvalidMessage: if the text is damaged, or of another version of meshwg.
    """
    try:
        return read(Cache, _parsed(text))
    except ValueError:
        raise InvalidMessage(
            "The cached netmap is damaged; it is ignored and fetched again"
        ) from None


FromNode = (
    Register
    | Report
    | SeenFlows
    | LeaseUse
    | OfferMessage
    | Ping
    | Pong
    | Resync
    | Leave
)
FromCoordinator = (
    Registered
    | NetMap
    | Delta
    | PolicyMessage
    | ItselfMessage
    | Records
    | Approvals
    | LeaseAnswer
    | OfferMessage
    | Ping
    | Pong
    | Credentials
    | Successor
    | Elsewhere
    | Revoked
    | Error
)
Message = FromNode | FromCoordinator


def encode(message: Message) -> bytes:
    """Return the payload of a message."""
    return pack(to_json(message))


def to_json(value: Message | Cache | ReportedCandidate | NatReport) -> bytes:
    """Return a value as JSON; fields that are ``None`` are left out."""
    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="replace")


def pack(text: bytes) -> bytes:
    """Return the payload of a JSON text, compressed if that is worth it."""
    if len(text) < _COMPRESS_FROM:
        return _PLAIN + text
    return _ZLIB + zlib.compress(text, _COMPRESSION_LEVEL)


def decode_from_coordinator(payload: bytes) -> FromCoordinator | None:
    """Return a coordinator's message, ``None`` if its type is unknown.

    :raises InvalidMessage: if it is too large or malformed.
    """
    if len(payload) > MAX_COORDINATOR_PAYLOAD:
        raise InvalidMessage("A message of the coordinator is too large")
    try:
        value = _parsed(unpack(payload, MAX_JSON))
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise Malformed("a message has a type", "type")
        kind = _FROM_COORDINATOR.get(value["type"])
        if value.get("through") is not None:
            _check_slice(value)
        return None if kind is None else read(kind, value)
    except Malformed as error:
        raise InvalidMessage(
            f"A message is malformed at {'.'.join(error.place[:3])[:80] or 'JSON'}"
        ) from None


def _check_slice(value: Mapping[str, Any]) -> None:
    """Refuse a slice that would be read for longer than packets may wait.

    :raises Malformed: if it is too large.
    """
    for name in ("peers", "changed", "removed"):
        listed = value.get(name)
        if isinstance(listed, list) and len(listed) > MAX_SLICE:
            raise Malformed(f"a slice has at most {MAX_SLICE} nodes", name)


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


def _parsed(text: bytes) -> object:
    """Return the value of a JSON text.

    :raises Malformed: if it is none.
    """
    try:
        return json.loads(text.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Malformed("input should be JSON") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


_FROM_COORDINATOR: Mapping[str, type[FromCoordinator]] = {
    get_args(kind.__annotations__["type"])[0]: kind
    for kind in get_args(FromCoordinator)
}
