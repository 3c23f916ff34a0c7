"""The STUN server: RFC 8489 with NAT discovery (RFC 5780), and old clients (RFC 3489).

Each address that is served has two sockets, at its port and at the next one. With two
addresses of a family that makes the four that RFC 5780 asks for; with one, a client
can still learn what depends on the port, so a change of only that is granted, too.

A UDP server reflects to whatever source is forged. So answers are small, PADDING is
never longer than the request's, RESPONSE-PORT keeps the address, RFC 3489's
RESPONSE-ADDRESS is refused, and each source gets a limited number of answers a second.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from coordinator.config import WILDCARDS
from meshwg.errors import ConfigError, InvalidMessage
from meshwg.limits import RateLimiter, site_of
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Buffer, Change, Class, Message, StunErrorCode

RATE = 100
"""Answers a second to one source: a thousand nodes behind one carrier NAT need 40."""

SOURCES_LIMIT = 65536
"""How many sources are remembered."""

PADDING_LIMIT = 1500


class StunDrop(StrEnum):
    """Why a datagram got no answer."""

    NOT_STUN = "not-stun"
    """Not a STUN message."""
    NOT_A_REQUEST = "not-a-request"
    """A STUN message, but no Binding request."""
    RATE = "rate"
    """Too many from one source."""
    PORT = "port"
    """An answer was asked for at port 0."""


class StunServer:
    """A STUN server without I/O.

    ``sockets`` are the local endpoints to bind; their indices are the ``link`` of the
    endpoints that come in and go out.

    :param addresses: one or two endpoints of each family, with one port; the socket of
        each address at the next port is added. A wildcard host is alone in its family.
    :param advertise: the public host of local ones, where a NAT is in front.
    :param rate: answers a second to one source; IPv6 sources count by their /64.
    :raises ConfigError: if the addresses do not fit together.
    """

    def __init__(
        self,
        addresses: Sequence[Endpoint],
        *,
        advertise: Mapping[str, str] | None = None,
        rate: int = RATE,
    ) -> None:
        families = list(_families(addresses, advertise or {}))
        self._links = [link for family in families for link in family]
        self.sockets = tuple(link.local for link in self._links)
        self.answers = 0
        self.drops: Counter[StunDrop] = Counter()
        self._limiter = RateLimiter(rate, rate, max_keys=SOURCES_LIMIT, interval=1.0)

    def receive_datagram(
        self, data: Buffer, source: Endpoint, now: float
    ) -> Transmit | None:
        """Return the answer to a datagram, or ``None``, which :attr:`drops` explains.

        :param source: its ``link`` is the socket the datagram came to; the answer's
            destination says in the same way which socket to send from.
        """
        if not self._limiter.take(site_of(source.host), now):
            self.drops[StunDrop.RATE] += 1
            return None
        transaction_id = stun.quick_binding(data)
        if transaction_id is not None:
            self.answers += 1
            tail = self._links[source.link].tail(source)
            answer = stun.binding_response(transaction_id, source, tail)
            return Transmit(source, [answer])
        return self._receive_any(data, source)

    def _receive_any(self, data: Buffer, source: Endpoint) -> Transmit | None:
        try:
            parse = stun.parse if data[4:8] == stun.COOKIE else stun.parse_classic
            request = parse(data)
        except InvalidMessage:
            self.drops[StunDrop.NOT_STUN] += 1
            return None
        if (request.method, request.cls) != (stun.Method.BINDING, Class.REQUEST):
            self.drops[StunDrop.NOT_A_REQUEST] += 1
            return None
        if request.attributes.get(Attribute.RESPONSE_PORT) == 0:
            self.drops[StunDrop.PORT] += 1
            return None
        self.answers += 1
        return self._answer(request, source)

    def _answer(self, request: Message, source: Endpoint) -> Transmit:
        """Return the answer to a Binding request that is not a plain one."""
        attributes = request.attributes
        change = attributes.get(Attribute.CHANGE_REQUEST, Change(0))
        link = self._links[source.link].changed.get(change)
        unknown = request.unknown_required
        if link is None:
            unknown = (*unknown, Attribute.CHANGE_REQUEST)
        if unknown:
            return _refuse(request, source, 420, "Unknown Attribute", unknown)
        if Attribute.RESPONSE_PORT in attributes and Attribute.PADDING in attributes:
            return _refuse(request, source, 400, "Bad Request")
        assert link is not None
        origin = self._links[link]
        answer = origin.answer(request, source)
        port = attributes.get(Attribute.RESPONSE_PORT, source.port)
        # A pinned local address holds for the socket of the request only.
        pin = source.source if link == source.link else None
        destination = Endpoint(source.host, port, link, pin)
        return Transmit(destination, [_encode(request, answer)])


@dataclass(slots=True)
class _Link:
    """One socket of the server."""

    local: Endpoint
    public: Endpoint
    """As clients see it; a wildcard host stands for the pinned address."""
    other: Endpoint | None
    """Where an answer with address and port changed comes from, if there is one."""
    changed: dict[Change, int]
    """The socket to answer from, by what the client wants changed."""
    plain_tail: bytes = b""

    def tail(self, source: Endpoint) -> bytes:
        """Return the packed attributes that follow the mapped address."""
        if self.plain_tail:
            return self.plain_tail
        packed = b"".join(
            stun.pack_attribute(attribute, value, b"")
            for attribute, value in self._addresses(source)
        )
        if self.public.host not in WILDCARDS:
            self.plain_tail = packed
        return packed

    def answer(self, request: Message, source: Endpoint) -> dict[Attribute, Any]:
        """Return the attributes of a success response."""
        if len(request.transaction_id) == stun.CLASSIC_TRANSACTION_ID_LENGTH:
            attributes: dict[Attribute, Any] = {Attribute.MAPPED_ADDRESS: source}
            attributes |= {
                _CLASSIC[key]: value for key, value in self._addresses(source)
            }
            return attributes
        attributes = {
            Attribute.XOR_MAPPED_ADDRESS: source,
            Attribute.MAPPED_ADDRESS: source,
            **dict(self._addresses(source)),
        }
        padding = request.attributes.get(Attribute.PADDING)
        if padding is not None:
            attributes[Attribute.PADDING] = bytes(min(len(padding), PADDING_LIMIT))
        return attributes

    def _addresses(self, source: Endpoint) -> list[tuple[Attribute, Endpoint]]:
        origin = self.public
        if origin.host in WILDCARDS and source.source is not None:
            origin = origin._replace(host=source.source.host)
        known = []
        if origin.host not in WILDCARDS:
            known.append((Attribute.RESPONSE_ORIGIN, origin))
        if self.other is not None:
            known.append((Attribute.OTHER_ADDRESS, self.other))
        return known


_CLASSIC = {
    Attribute.RESPONSE_ORIGIN: Attribute.SOURCE_ADDRESS,
    Attribute.OTHER_ADDRESS: Attribute.CHANGED_ADDRESS,
}


def _families(
    addresses: Sequence[Endpoint], advertise: Mapping[str, str]
) -> list[list[_Link]]:
    """Return the sockets of each family that is served."""
    families: list[list[_Link]] = []
    first = 0
    for is_ipv6 in (False, True):
        family = [one for one in addresses if (":" in one.host) == is_ipv6]
        _check(family)
        if family:
            families.append(_family(family, advertise, first))
            first += len(families[-1])
    if not families:
        raise ConfigError("The STUN server needs an address to serve: give --stun")
    return families


def _check(family: Sequence[Endpoint]) -> None:
    """Refuse addresses of one family that cannot serve RFC 5780."""
    hosts = {endpoint.host for endpoint in family}
    if len(family) > 2 or len(hosts) < len(family):
        raise ConfigError(
            "STUN is served at one or two different addresses of a family: "
            "remove the other --stun"
        )
    if len({endpoint.port for endpoint in family}) > 1:
        raise ConfigError("Both --stun addresses of a family need the same port")
    if len(family) == 2 and not hosts.isdisjoint(WILDCARDS):
        raise ConfigError(
            "With two STUN addresses neither can be a wildcard: name both in --stun"
        )
    if any(not 0 < endpoint.port < 65535 for endpoint in family):
        raise ConfigError(
            "A --stun port is between 1 and 65534, as the next is also used"
        )


def _family(
    family: Sequence[Endpoint], advertise: Mapping[str, str], first: int
) -> list[_Link]:
    """Return the sockets of one family: by address, then by port."""
    locals_ = [
        Endpoint(endpoint.host, endpoint.port + offset)
        for endpoint in family
        for offset in (0, 1)
    ]
    publics = [
        local._replace(host=advertise.get(local.host, local.host)) for local in locals_
    ]
    links = []
    for index, (local, public) in enumerate(zip(locals_, publics, strict=True)):
        changed = {Change(0): first + index, Change.PORT: first + (index ^ 1)}
        other = None
        if len(family) == 2:
            changed[Change.ADDRESS] = first + (index ^ 2)
            changed[Change.ADDRESS | Change.PORT] = first + (index ^ 3)
            other = publics[index ^ 3]
        links.append(_Link(local, public, other, changed))
    return links


def _refuse(
    request: Message,
    source: Endpoint,
    code: int,
    reason: str,
    unknown: tuple[int, ...] = (),
) -> Transmit:
    """Return an error response."""
    if len(request.transaction_id) == stun.CLASSIC_TRANSACTION_ID_LENGTH:
        # RFC 3489 knows no padding: text is filled up, and attributes are repeated.
        reason += " " * (-len(reason) % 4)
        unknown += unknown[-1:] * (len(unknown) % 2)
    attributes: dict[Attribute, Any] = {
        Attribute.ERROR_CODE: StunErrorCode(code, reason)
    }
    if unknown:
        attributes[Attribute.UNKNOWN_ATTRIBUTES] = unknown
    return Transmit(source, [_encode(request, attributes, Class.ERROR)])


def _encode(
    request: Message, attributes: dict[Attribute, Any], cls: Class = Class.SUCCESS
) -> bytes:
    answer = Message(request.method, cls, request.transaction_id, attributes)
    fingerprint = Attribute.FINGERPRINT in request.attributes
    return stun.encode(answer, fingerprint=fingerprint)
