"""NAT-PMP (RFC 6886): its messages, and what they mean.

::

    address request    version=0  opcode=0
    address answer     version=0  opcode=128  result(16)  epoch(32)  address(32)
    map request        version=0  opcode=1    reserved(16)      (2 for TCP)
                       internal port(16)  external port(16)  lifetime(32)
    map answer         version=0  opcode=129  result(16)  epoch(32)  (130 for TCP)
                       internal port(16)  external port(16)  lifetime(32)

An address answer that nobody asked for, sent to every host, is an announcement. There
is nothing like a nonce: only the gateway's address and the ports tell an answer from
a forgery. So each question is good for one answer.
"""

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum

from meshwg.errors import InvalidMessage
from meshwg.nat.gateway import (
    Addressed,
    Answer,
    Granted,
    MappedProtocol,
    MappingMethod,
    MappingRefused,
    NotOurs,
    NotSpoken,
)
from meshwg.transmit import Endpoint

VERSION = 0

_RESPONSE = 0x80
_REQUEST = struct.Struct("!BBHHHI")
_HEADER = struct.Struct("!BBHI")
_MAP = struct.Struct("!HHI")


class NatPmpOpcode(IntEnum):
    """The operations used here (section 3)."""

    ADDRESS = 0
    MAP_UDP = 1
    MAP_TCP = 2


class NatPmpResult(IntEnum):
    """Result codes (section 3.5) that mean more than their number to this program."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1


_REASONS = {
    2: "it does not permit this host to map ports",
    3: "it has no external address itself",
    4: "it has no resources left",
    5: "it does not map {} ports",
}

_MAP_OPCODES = {
    MappedProtocol.UDP: NatPmpOpcode.MAP_UDP,
    MappedProtocol.TCP: NatPmpOpcode.MAP_TCP,
}


def encode_address_request() -> bytes:
    """Return a question for the external address, which maps nothing."""
    return bytes((VERSION, NatPmpOpcode.ADDRESS))


def encode_map_request(
    internal_port: int,
    external_port: int,
    lifetime: int,
    protocol: MappedProtocol = MappedProtocol.UDP,
) -> bytes:
    """Return a request for a mapping.

    :param external_port: the suggested one, 0 for any; must be 0 when deleting.
    :param lifetime: in seconds; 0 deletes.
    """
    return _REQUEST.pack(
        VERSION, _MAP_OPCODES[protocol], 0, internal_port, external_port, lifetime
    )


@dataclass(frozen=True, slots=True)
class NatPmpResponse:
    """An answer. The fields after the first three are empty when it is an error."""

    opcode: int
    result: int
    epoch: int
    address: str | None = None
    internal_port: int = 0
    external_port: int = 0
    lifetime: int = 0


def parse_response(data: bytes) -> NatPmpResponse:
    """Return an answer.

    :raises InvalidMessage: if it is none.
    """
    if len(data) < _HEADER.size:
        raise InvalidMessage("A NAT-PMP answer is cut short")
    version, opcode, result, epoch = _HEADER.unpack_from(data)
    if version != VERSION or not opcode & _RESPONSE:
        raise InvalidMessage("This is not a NAT-PMP answer")
    opcode &= ~_RESPONSE
    if result != NatPmpResult.SUCCESS:
        return NatPmpResponse(opcode, result, epoch)
    if opcode == NatPmpOpcode.ADDRESS and len(data) >= _HEADER.size + 4:
        address = ipaddress.IPv4Address(data[_HEADER.size : _HEADER.size + 4])
        return NatPmpResponse(opcode, result, epoch, str(address))
    is_map = opcode in (NatPmpOpcode.MAP_UDP, NatPmpOpcode.MAP_TCP)
    if is_map and len(data) >= _HEADER.size + _MAP.size:
        ports_and_lifetime = _MAP.unpack_from(data, _HEADER.size)
        return NatPmpResponse(opcode, result, epoch, None, *ports_and_lifetime)
    raise InvalidMessage("A NAT-PMP answer is cut short, or answers something else")


def epoch_is_lost(previous: int, epoch: int, elapsed: float) -> bool:
    """Return whether the epoch time says that mappings are lost (section 3.6)."""
    return epoch < previous + elapsed * 7 / 8 - 2


class NatPmpClient:
    """Asks a NAT-PMP gateway for its address and then for one mapping.

    The mapping is asked for only once the address is known: the first question shows
    that NAT-PMP is spoken here without leaving anything behind in the gateway.
    """

    method = MappingMethod.NAT_PMP
    epoch_is_lost = staticmethod(epoch_is_lost)

    def __init__(
        self, internal_port: int, protocol: MappedProtocol = MappedProtocol.UDP
    ) -> None:
        self._internal_port = internal_port
        self._protocol = protocol
        self.asked = False
        self._host: str | None = None
        self._open: set[int] = set()
        """The operations that were asked for and not answered yet."""

    def request(self, lifetime: int, suggested: Endpoint | None) -> list[bytes]:
        """Return the datagrams that ask for the address and, later, the mapping."""
        self._open.add(NatPmpOpcode.ADDRESS)
        requests = [encode_address_request()]
        if self._host is not None:
            self.asked = True
            port = suggested.port if suggested is not None else self._internal_port
            requests.append(self._map(port, lifetime))
        return requests

    def release(self) -> list[bytes]:
        """Return the datagram that deletes the mapping (section 3.4)."""
        return [self._map(0, 0)]

    def receive(self, data: bytes) -> tuple[Answer, int | None]:
        """Return what an answer means, and its epoch time."""
        response = parse_response(data)
        if response.opcode not in self._open:
            return NotOurs(), response.epoch
        answer = self._meaning(response)
        if not isinstance(answer, NotOurs):
            self._open.remove(response.opcode)
        return answer, response.epoch

    def _map(self, external_port: int, lifetime: int) -> bytes:
        self._open.add(_MAP_OPCODES[self._protocol])
        return encode_map_request(
            self._internal_port, external_port, lifetime, self._protocol
        )

    def _meaning(self, response: NatPmpResponse) -> Answer:
        if response.result == NatPmpResult.UNSUPPORTED_VERSION:
            return NotSpoken()
        if response.result != NatPmpResult.SUCCESS:
            code = response.result
            reason = _REASONS.get(code, f"its result code is {code}")
            return MappingRefused(reason.format(self._protocol.name))
        if response.address is not None:
            self._host = response.address
            return Addressed(response.address)
        if self._host is None or response.internal_port != self._internal_port:
            return NotOurs()
        external = Endpoint(self._host, response.external_port)
        return Granted(external, response.lifetime)
