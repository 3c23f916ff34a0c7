"""The words that port mapping uses, whatever protocol carries them.

PCP (:mod:`meshwg.nat.pcp`), NAT-PMP (:mod:`meshwg.nat.natpmp`) and UPnP speak of the
same few things. Their clients translate bytes into answers, so that the one policy
(:mod:`meshwg.nat.portmap`) knows no wire format. What that policy tells its driver is
here too.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Protocol

from meshwg.transmit import Endpoint

SERVER_PORT = 5351
"""Where gateways listen for PCP and NAT-PMP (RFC 6887 section 19.1)."""

ANNOUNCEMENT_PORT = 5350
"""Where hosts hear a restarted gateway's announcement, sent to every host's group."""


class MappingMethod(Enum):
    """How a port is mapped, in the order in which the methods are tried."""

    PCP = "pcp"
    NAT_PMP = "nat-pmp"
    UPNP = "upnp"

    @property
    def title(self) -> str:
        """The protocol's name as people write it."""
        return {"pcp": "PCP", "nat-pmp": "NAT-PMP", "upnp": "UPnP"}[self.value]


class MappedProtocol(Enum):
    """What the mapped port is one of, with IANA's number of the protocol."""

    UDP = 17
    TCP = 6


@dataclass(frozen=True, slots=True)
class Granted:
    """The port is mapped."""

    external: Endpoint
    lifetime: int
    """Seconds from the answer until the mapping ends unless renewed; 0: it is gone."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """The gateway named its external address; nothing is mapped by that."""

    host: str


@dataclass(frozen=True, slots=True)
class MappingRefused:
    """The gateway speaks the protocol and will not map the port."""

    reason: str
    """Completes the sentence "PCP is refused: ..."."""
    retry_after: int = 0
    """Seconds for which the gateway expects to give the same answer."""
    double_nat: bool = False
    """Whether another NAT stands between this host and the gateway."""


@dataclass(frozen=True, slots=True)
class NotSpoken:
    """The gateway does not speak this protocol, or not this version of it."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The gateway speaks the protocol and gave its epoch time, nothing more."""


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Well-formed, but about another mapping than the one that was asked for."""


Answer = Granted | Addressed | MappingRefused | NotSpoken | Announced | NotOurs


EpochRule = Callable[[int, int, float], bool]
"""Whether mappings are lost, from the previous epoch time, the one received now and
the seconds that passed here in between."""


class GatewayClient(Protocol):
    """One protocol's side of a mapping: what to send, and what an answer means."""

    method: MappingMethod
    asked: bool
    """Whether a mapping was asked for, so that there may be one to give back."""

    @property
    def epoch_is_lost(self) -> EpochRule: ...

    def request(self, lifetime: int, suggested: Endpoint | None) -> list[bytes]:
        """Return the datagrams that ask for the mapping, or renew it.

        :param lifetime: in seconds.
        :param suggested: the external endpoint to ask for, such as the one held before.
        """
        ...

    def release(self) -> list[bytes]:
        """Return the datagrams that give the mapping back."""
        ...

    def receive(self, data: bytes) -> tuple[Answer, int | None]:
        """Return what the gateway's datagram means, and its epoch time, if any.

        :raises InvalidMessage: if it is not an answer of this protocol.
        """
        ...


class EpochClock:
    """Tells from the gateway's uptime whether it has forgotten its mappings.

    Every answer carries the seconds since the gateway's table was empty, which is one
    time for both protocols. How to compare it with the local clock is said by each.
    """

    def __init__(self) -> None:
        self._previous: tuple[int, float] | None = None

    def lost(self, is_lost: EpochRule, epoch: int, now: float) -> bool:
        """Return whether this epoch time says that the mappings are gone."""
        if self._previous is None:
            return False
        before, at = self._previous
        return is_lost(before, epoch, max(0.0, now - at))

    def observe(self, is_lost: EpochRule, epoch: int, now: float) -> bool:
        """Return the same, and remember the epoch time for the next comparison."""
        lost = self.lost(is_lost, epoch, now)
        self._previous = (epoch, now)
        return lost


@dataclass(frozen=True, slots=True)
class Mapped:
    """The port is mapped, as far as the gateway says."""

    external: Endpoint
    method: MappingMethod
    expires_at: float = field(compare=False)
    """On the clock of ``now``; a renewal alone makes no other mapping."""
    public: bool
    """Whether the external address is one that the internet routes."""


@dataclass(frozen=True, slots=True)
class MappingChanged:
    """The external endpoint is another one now, or is missing for another reason."""

    mapped: Mapped | None
    reason: str
    """One sentence for the status."""


@dataclass(frozen=True, slots=True)
class UpnpRequested:
    """The runtime is to map the port by UPnP, and to report how that went.

    A request that is still under way ends: this one takes its place.
    """

    internal_port: int
    external_port: int
    """The suggested one."""
    lifetime: int


@dataclass(frozen=True, slots=True)
class UpnpReleased:
    """The runtime is to delete the mapping that it made by UPnP."""

    external_port: int


PortMappingEvent = MappingChanged | UpnpRequested | UpnpReleased


class GatewayDrop(StrEnum):
    """Why something that a gateway, or someone else, sent was not believed."""

    WRONG_SOURCE = "port-mapping-wrong-source"
    """It did not come from the gateway."""
    MALFORMED = "port-mapping-malformed"
    NOT_OURS = "port-mapping-not-ours"
    """It is about another mapping than ours."""
    UNASKED = "port-mapping-unasked"
    """It is of a method that the mapping was not made by."""
    LIFETIME = "port-mapping-lifetime"
    """The lifetime is too short or too long, and was cut or refused."""
    ADDRESS = "port-mapping-address"
    """The external address is none that anything could be sent to."""


def is_usable(external: Endpoint) -> bool:
    """Return whether packets can be sent to an external endpoint at all."""
    try:
        address = ipaddress.ip_address(external.host)
    except ValueError:
        return False
    unusable = address.is_unspecified or address.is_multicast or address.is_loopback
    return 0 < external.port < 65536 and not unusable


def is_public(host: str) -> bool:
    """Return whether an address is routed in the internet.

    Private, carrier-grade (RFC 6598), link-local and documentation addresses are not:
    a gateway that holds one stands behind another NAT.
    """
    address = ipaddress.ip_address(host)
    return address.is_global and not address.is_multicast
