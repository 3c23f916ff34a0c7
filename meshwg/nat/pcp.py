"""The Port Control Protocol (RFC 6887): its MAP messages, and what they mean.

Request and answer are a header of 24 bytes and, for MAP, 36 more (section 11.1)::

     request header                    answer header
     0  version  R=0|opcode  reserved  version  R=1|opcode  reserved  result
     4  requested lifetime             lifetime
     8  client address (16)            epoch time, then 12 reserved

    24  nonce (12)
    36  protocol, reserved (3)
    40  internal port, external port
    44  external address (16)

IPv4 addresses travel in their IPv4-mapped form. The nonce makes the mapping ours: who
does not know it can neither renew nor delete it, nor forge an answer.
"""

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum

from meshwg.errors import InvalidMessage
from meshwg.nat.gateway import (
    Announced,
    Answer,
    Granted,
    MappedProtocol,
    MappingMethod,
    MappingRefused,
    NotOurs,
    NotSpoken,
)
from meshwg.transmit import Endpoint, Random

VERSION = 2
NONCE_LENGTH = 12

_RESPONSE = 0x80
_REQUEST_HEADER = struct.Struct("!BBHI16s")
_RESPONSE_HEADER = struct.Struct("!BBBBII12x")
_MAP = struct.Struct("!12sB3xHH16s")
_MAX_LENGTH = 1100  # Section 7.


class PcpOpcode(IntEnum):
    """The operations used here (section 19.2)."""

    ANNOUNCE = 0
    MAP = 1


class PcpResult(IntEnum):
    """Result codes (section 7.4) that mean more than their number to this program."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    ADDRESS_MISMATCH = 12


_REASONS = {
    2: "it does not permit this host to map ports",
    3: "it does not understand the request",
    4: "it does not map ports",
    5: "it does not understand an option",
    6: "it does not understand an option",
    7: "it has no working network itself",
    8: "it has no resources left",
    9: "it does not map {} ports",
    10: "this host has used up its quota of mappings",
    11: "it cannot provide an external port",
    12: "another NAT stands between this host and the gateway",
    13: "it cannot limit the mapping to that many peers",
}


@dataclass(frozen=True, slots=True)
class MapRequest:
    """A request to make, renew or delete the mapping of a port."""

    client: str
    nonce: bytes
    internal_port: int
    lifetime: int
    """In seconds; 0 deletes."""
    external: Endpoint | None = None
    """The suggested endpoint; none must be given when deleting (section 15)."""
    protocol: MappedProtocol = MappedProtocol.UDP

    def encode(self) -> bytes:
        """Return the datagram."""
        host = self.external.host if self.external is not None else None
        return _REQUEST_HEADER.pack(
            VERSION, PcpOpcode.MAP, 0, self.lifetime, _pack_address(self.client)
        ) + _MAP.pack(
            self.nonce,
            self.protocol.value,
            self.internal_port,
            self.external.port if self.external is not None else 0,
            _pack_address(host or _unspecified(self.client)),
        )


def encode_announce(client: str) -> bytes:
    """Return a request that maps nothing and that every PCP server answers."""
    return _REQUEST_HEADER.pack(
        VERSION, PcpOpcode.ANNOUNCE, 0, 0, _pack_address(client)
    )


@dataclass(frozen=True, slots=True)
class PcpMapping:
    """The part of a MAP answer that only MAP has."""

    nonce: bytes
    protocol: int
    internal_port: int
    external: Endpoint


@dataclass(frozen=True, slots=True)
class PcpResponse:
    """An answer, or an announcement, which has the form of an answer."""

    result: int
    lifetime: int
    epoch: int
    mapping: PcpMapping | None
    """Only for MAP."""


def parse_response(data: bytes) -> PcpResponse:
    """Return an answer of this version.

    :raises InvalidMessage: if it is none (section 8.3).
    """
    if not _RESPONSE_HEADER.size <= len(data) <= _MAX_LENGTH or len(data) % 4:
        raise InvalidMessage("The length of a PCP answer is wrong")
    version, opcode, _, result, lifetime, epoch = _RESPONSE_HEADER.unpack_from(data)
    if version != VERSION or not opcode & _RESPONSE:
        raise InvalidMessage("This is not a PCP version 2 answer")
    opcode &= ~_RESPONSE
    mapping = _parse_mapping(data) if opcode == PcpOpcode.MAP else None
    return PcpResponse(result, lifetime, epoch, mapping)


def _parse_mapping(data: bytes) -> PcpMapping:
    if len(data) < _RESPONSE_HEADER.size + _MAP.size:
        raise InvalidMessage("A PCP MAP answer is cut short")
    nonce, protocol, internal, external, address = _MAP.unpack_from(
        data, _RESPONSE_HEADER.size
    )
    return PcpMapping(
        nonce, protocol, internal, Endpoint(_unpack_address(address), external)
    )


def is_other_version(data: bytes) -> bool:
    """Return whether an answer says that version 2 is not spoken (section 9).

    A server of NAT-PMP only answers in its own version 0, and has its result code 1
    at the same place.
    """
    return (
        len(data) >= 4
        and data[0] < VERSION
        and bool(data[1] & _RESPONSE)
        and data[3] == PcpResult.UNSUPPORTED_VERSION
    )


def epoch_is_lost(previous: int, epoch: int, elapsed: float) -> bool:
    """Return whether the epoch time says that mappings are lost (section 8.5)."""
    if epoch + 1 < previous:
        return True
    server = epoch - previous
    return elapsed + 2 < server - server / 16 or server + 2 < elapsed - elapsed / 16


class PcpClient:
    """Asks a PCP server for one mapping, and knows its answers by the nonce."""

    method = MappingMethod.PCP
    epoch_is_lost = staticmethod(epoch_is_lost)

    def __init__(
        self,
        client: str,
        internal_port: int,
        random: Random,
        protocol: MappedProtocol = MappedProtocol.UDP,
    ) -> None:
        """Make a client with a new nonce.

        :param client: the address this host sends from, as it knows it itself; the
            server compares it with the source that it sees.
        """
        self._client = client
        self._internal_port = internal_port
        self._protocol = protocol
        self._nonce = random(NONCE_LENGTH)
        self.asked = False

    def request(self, lifetime: int, suggested: Endpoint | None) -> list[bytes]:
        """Return the datagram that asks for the mapping, or renews it."""
        self.asked = True
        anything = Endpoint(_unspecified(self._client), self._internal_port)
        return [self._map(lifetime, suggested or anything)]

    def release(self) -> list[bytes]:
        """Return the datagram that deletes the mapping (section 15).

        The same nonce shows that it is ours; a suggested endpoint is not allowed.
        """
        return [self._map(0, None)]

    def receive(self, data: bytes) -> tuple[Answer, int | None]:
        """Return what an answer means, and its epoch time."""
        if is_other_version(data):
            return NotSpoken(), None
        response = parse_response(data)
        return self._meaning(response), response.epoch

    def _map(self, lifetime: int, suggested: Endpoint | None) -> bytes:
        return MapRequest(
            self._client,
            self._nonce,
            self._internal_port,
            lifetime,
            suggested,
            self._protocol,
        ).encode()

    def _meaning(self, response: PcpResponse) -> Answer:
        mapping = response.mapping
        if mapping is None:
            return Announced()
        asked = (self._nonce, self._protocol.value, self._internal_port)
        if (mapping.nonce, mapping.protocol, mapping.internal_port) != asked:
            return NotOurs()
        if response.result == PcpResult.SUCCESS:
            return Granted(mapping.external, response.lifetime)
        code = response.result
        reason = _REASONS.get(code, f"its result code is {code}")
        return MappingRefused(
            reason.format(self._protocol.name),
            response.lifetime,
            response.result == PcpResult.ADDRESS_MISMATCH,
        )


def _pack_address(host: str) -> bytes:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


def _unpack_address(packed: bytes) -> str:
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _unspecified(client: str) -> str:
    """Return "any address" in the family of the client (section 5)."""
    return "::" if ":" in client else "0.0.0.0"
