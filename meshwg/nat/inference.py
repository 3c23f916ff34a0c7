"""From what servers saw of sockets to how the NAT behaves (RFC 5780 section 4).

Every function here says ``UNKNOWN`` unless what it is given proves more. Silence
proves something only if the silent endpoint is known to be alive.
"""

import ipaddress
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from meshwg.transmit import Endpoint

MAX_STEP = 64
"""Ports drawn at random come this close to each other, four times in a row and in one
direction, once in a thousand million times."""

MIN_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """One socket as several destinations saw it; ``None`` where none answered."""

    primary: Endpoint
    """By the server that was asked first, at A1:P1."""
    other_port: Endpoint | None = None
    """At A1:P2."""
    other_address: Endpoint | None = None
    """At A2:P1."""
    other_both: Endpoint | None = None
    """At A2:P2."""
    other_servers: tuple[Endpoint, ...] = ()
    """By servers at other addresses, which have other ports, perhaps."""

    @property
    def elsewhere(self) -> tuple[Endpoint, ...]:
        """What every other address saw."""
        second = (self.other_address, self.other_both)
        return (*(seen for seen in second if seen is not None), *self.other_servers)

    @property
    def varies(self) -> bool:
        """Whether any destination saw the socket somewhere else."""
        everywhere = (*self.elsewhere, self.other_port)
        return any(seen not in (None, self.primary) for seen in everywhere)

    @property
    def agrees(self) -> bool:
        """Whether another destination saw the socket where the first one did, and none
        saw it elsewhere."""
        return self.primary in (*self.elsewhere, self.other_port) and not self.varies

    @property
    def moved_to(self) -> Endpoint | None:
        """Where all but the first destination saw the socket, if that is one place."""
        others = [
            seen for seen in (*self.elsewhere, self.other_port) if seen is not None
        ]
        agree = self.varies and all(seen == others[0] for seen in others)
        return others[0] if agree else None


@dataclass(frozen=True, slots=True)
class Passed:
    """Which unasked answers reached a fresh socket; ``None`` if that proves nothing."""

    from_other_both: bool | None = None
    """From A2:P2, which the socket never sent to."""
    from_other_port: bool | None = None
    """From A1:P2, where the socket had sent to A1:P1."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A fresh socket's local port, and the public one it was given."""

    local_port: int
    public_port: int


def mapping_of(seen: Seen, is_local: bool) -> Mapping:
    """Return the mapping behaviour.

    :param is_local: whether ``seen.primary`` is the socket's own endpoint.
    """
    if is_local and not seen.varies:
        return Mapping.NONE
    if not seen.elsewhere:
        return _by_port_alone(seen)
    if all(endpoint == seen.primary for endpoint in seen.elsewhere):
        return (
            Mapping.ADDRESS_AND_PORT_DEPENDENT
            if seen.varies
            else Mapping.ENDPOINT_INDEPENDENT
        )
    pairs = (
        (seen.primary, seen.other_port),
        (seen.other_address, seen.other_both),
    )
    known = [one == other for one, other in pairs if None not in (one, other)]
    if not known:
        return Mapping.UNKNOWN
    return (
        Mapping.ADDRESS_DEPENDENT if all(known) else Mapping.ADDRESS_AND_PORT_DEPENDENT
    )


def filtering_of(passed: Passed) -> Filtering:
    """Return the filtering behaviour."""
    if passed.from_other_both:
        return Filtering.ENDPOINT_INDEPENDENT
    if passed.from_other_port is False:
        return Filtering.ADDRESS_AND_PORT_DEPENDENT
    if passed.from_other_port and passed.from_other_both is False:
        return Filtering.ADDRESS_DEPENDENT
    return Filtering.UNKNOWN


def keeps_ports(samples: Sequence[Sample]) -> bool | None:
    """Tell whether the NAT gives sockets the public port that they have inside."""
    if not samples:
        return None
    return all(sample.public_port == sample.local_port for sample in samples)


def allocation_of(
    samples: Sequence[Sample], seen: Seen
) -> tuple[PortAllocation, int | None]:
    """Return how ports are given out, and the step of a sequence.

    What matters is the port that the next mapping gets. A NAT that keeps the port for
    a socket's first destination only is judged by what the later ones saw.

    :param samples: new mappings in the order in which they were made.
    """
    if len(samples) >= 2 and keeps_ports(samples) and not seen.varies:
        return PortAllocation.PRESERVING, None
    ports = _ports_of_later_mappings(samples, seen)
    steps = [after - before for before, after in itertools.pairwise(ports)]
    steps = [step for step in steps if step]
    if len(steps) < MIN_SAMPLES - 1:
        return PortAllocation.UNKNOWN, None
    if all(0 < step <= MAX_STEP for step in steps):
        return PortAllocation.SEQUENTIAL, math.gcd(*steps)
    if all(-MAX_STEP <= step < 0 for step in steps):
        return PortAllocation.SEQUENTIAL, -math.gcd(*steps)
    return PortAllocation.RANDOM, None


def _ports_of_later_mappings(samples: Sequence[Sample], seen: Seen) -> list[int]:
    """Return the public ports of mappings whose port was not simply kept."""
    if keeps_ports(samples):
        later = (seen.other_address, seen.other_both, seen.other_port)
        return [endpoint.port for endpoint in later if endpoint is not None]
    return [one.public_port for one in samples if one.public_port != one.local_port]


def is_credible(other: Endpoint | None, server: Endpoint) -> bool:
    """Tell whether an OTHER-ADDRESS can be one: another host, which may be asked.

    A server could otherwise have its clients send to whom it likes.
    """
    if other is None or other.host == server.host or other.port in (0, server.port):
        return False
    address, own = ipaddress.ip_address(other.host), ipaddress.ip_address(server.host)
    if address.version != own.version or address.is_multicast or address.is_unspecified:
        return False
    return address.is_loopback == own.is_loopback and not address.is_reserved


def _by_port_alone(seen: Seen) -> Mapping:
    """Return what one address can tell: only a difference proves anything."""
    if seen.varies:
        return Mapping.ADDRESS_AND_PORT_DEPENDENT
    return Mapping.UNKNOWN
