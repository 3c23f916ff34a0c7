"""What is possible for each pair of kinds, which a mesh in the lab has to achieve.

It is derived from mapping, filtering and port allocation alone, by five rules:

* An endpoint is *known* if its owner maps endpoint-independently: what a STUN server
  saw is what a peer has to send to. For prediction, it is known too if the ports of
  its owner's NAT are sequential.
* ``y`` *accepts* ``x`` if ``y`` filters endpoint-independently; or if ``y`` filters by
  address and is known; or if both are known, so that each has sent to where the
  other's packets come from. One accepting direction is enough: the other side learns
  the address from the packet that arrives.
* The *birthday* method helps a side with a mapping for each destination against a peer
  that is known, and against everybody if that side filters by address only.
* Where all that fails, a *stream* helps if one side is a public host, or its router
  maps ports on request, or both NATs map TCP by the port alone, which Linux does
  whatever it does to UDP: then both sides connect to each other at the same moment.
  Both must be allowed to connect to any port.
* Two NATs in a row are as strict as the stricter one, in mapping and in filtering.

A router that accepts packets for itself is like the same router that drops them: what
it spoils is left for fresh ports.

One case depends on luck: a NAT that takes any of several public addresses for each
mapping ("arbitrary" pooling, RFC 4787 section 4.1), against a filter by address. It may
take an address that the other side has not sent to, and then the pair stays relayed, or
on a stream where that helps.
"""

from dataclasses import dataclass
from enum import Enum

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from netlab.nat import Behaviour, Block
from netlab.presets import Preset


class Method(Enum):
    """The weakest method that opens a path between two nodes."""

    DIRECT = "direct"
    """Plain punching: both send to the endpoints they were told."""
    PREDICTION = "prediction"
    """One side predicts the next port of the other's NAT."""
    BIRTHDAY = "birthday"
    """One side opens many mappings, the other probes many ports."""
    TCP = "tcp"
    """A stream, where no datagram gets through."""
    RELAY = "relay"
    """No method is reliable."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a host is seen from the internet, for one IP version."""

    mapping: Mapping
    filtering: Filtering
    sequential: bool = False

    @property
    def known(self) -> bool:
        return self.mapping in (Mapping.NONE, Mapping.ENDPOINT_INDEPENDENT)

    def accepts(self, other: "Access", *, guessing: bool = False) -> bool:
        """Return whether packets of ``other`` come in, after both have sent.

        :param guessing: whether each predicts the other's next port, if sequential.
        """
        if self.filtering is Filtering.ENDPOINT_INDEPENDENT:
            return True
        known = self.known or (guessing and self.sequential)
        if self.filtering is Filtering.ADDRESS_DEPENDENT:
            return known
        return known and (other.known or (guessing and other.sequential))

    def admits_birthday(self, prober: "Access") -> bool:
        """Return whether ``prober`` finds one of many mappings here."""
        by_address = self.filtering is Filtering.ADDRESS_DEPENDENT
        return not self.known and (prober.known or by_address)


OPEN = Access(Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT)
FIREWALLED = Access(Mapping.NONE, Filtering.ADDRESS_AND_PORT_DEPENDENT)


def method(one: Preset, other: Preset) -> Method:
    """Return the weakest method that opens a path between hosts of two kinds."""
    candidates = [
        _method(ours, theirs)
        for ours, theirs in zip(_accesses(one), _accesses(other), strict=True)
        if ours is not None and theirs is not None
    ]
    order = list(Method)
    best = min(candidates, key=order.index, default=Method.RELAY)
    return Method.TCP if best is Method.RELAY and _stream(one, other) else best


def is_luck(one: Preset, other: Preset) -> bool:
    """Return whether the pair may do worse although more is possible."""
    return any(
        _is_pooled(pooled) and _filters_by_address(filtering)
        for pooled, filtering in ((one, other), (other, one))
    )


def ipv4_access(preset: Preset) -> Access | None:
    """Return what a STUN server sees over IPv4, ``None`` if UDP is blocked."""
    behaviours = [each for each in (preset.behaviour, preset.carrier) if each]
    if any(each.block is not Block.NOTHING for each in behaviours):
        return None
    seen = OPEN
    for behaviour in behaviours:
        seen = _behind(behaviour, seen)
    return seen


def _stream(one: Preset, other: Preset) -> bool:
    """Return whether a TCP connection between hosts of two kinds can be opened."""
    if not (_may_dial(one) and _may_dial(other)):
        return False
    if _takes_connections(one) or _takes_connections(other):
        return True
    return all(
        behaviour.tcp_mapping is Mapping.ENDPOINT_INDEPENDENT
        for preset in (one, other)
        for behaviour in (preset.behaviour, preset.carrier)
        if behaviour is not None
    )


def _takes_connections(preset: Preset) -> bool:
    """Return whether anybody can connect to a host of a kind."""
    return preset.behaviour is None or preset.behaviour.port_mapping


def _may_dial(preset: Preset) -> bool:
    """Return whether connections to any port may leave."""
    behaviours = (preset.behaviour, preset.carrier)
    return all(each is None or each.block in _LETS_TCP_OUT for each in behaviours)


_LETS_TCP_OUT = (Block.NOTHING, Block.UDP)


def _is_pooled(preset: Preset) -> bool:
    return preset.behaviour is not None and preset.behaviour.public_addresses > 1


def _filters_by_address(preset: Preset) -> bool:
    access = ipv4_access(preset)
    return access is not None and access.filtering is Filtering.ADDRESS_DEPENDENT


def _method(x: Access, y: Access) -> Method:
    if x.accepts(y) or y.accepts(x):
        return Method.DIRECT
    if x.accepts(y, guessing=True) or y.accepts(x, guessing=True):
        return Method.PREDICTION
    if x.admits_birthday(y) or y.admits_birthday(x):
        return Method.BIRTHDAY
    return Method.RELAY


def _accesses(preset: Preset) -> tuple[Access | None, Access | None]:
    """Return the access over IPv4, as a peer can use it, and over IPv6."""
    behaviour = preset.behaviour
    if behaviour is None:
        return OPEN, OPEN
    ipv4 = OPEN if behaviour.port_mapping else ipv4_access(preset)
    return ipv4, FIREWALLED if behaviour.ipv6 else None


def _behind(behaviour: Behaviour, inner: Access) -> Access:
    # The members of both enumerations stand in the order of their strictness.
    mapping = max(behaviour.mapping, inner.mapping, key=list(Mapping).index)
    filtering = max(behaviour.filtering, inner.filtering, key=list(Filtering).index)
    return Access(
        mapping,
        filtering,
        inner.sequential or behaviour.ports is PortAllocation.SEQUENTIAL,
    )
