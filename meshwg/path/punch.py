"""What can be done about two NATs, and the arithmetic of doing it.

Call an endpoint *known* when its owner's NAT maps endpoint-independently, or, for
prediction, gives out ports in sequence. A node *accepts* a peer when its NAT filters
nothing; or filters by address only, and its own endpoint is known; or when both
endpoints are known. One accepting direction is enough: the other side learns the
address from the packet that arrives.

The birthday method needs a *fan*, a node that opens many sockets and so many mappings
towards the peer, and a *prober* that sends to many random ports of the fan's public
address. A probe that meets a mapping is let in if it comes from where the mapping
points to, so the prober's endpoint must be known, unless the fan's NAT filters by
address only.

Plain punching can also fail between two known endpoints: a router that accepts packets
for itself remembers one that came too early as a flow of its own, and gives the flow of
the host behind it another port. Such a mapping cannot be mended while either side
sends. So both sides take a *fresh* socket, whose public endpoint nobody has sent to.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import pairwise

from meshwg.nattypes import Filtering
from meshwg.path.traits import NatTraits
from meshwg.transmit import Random

BIRTHDAY_SOCKETS = 256
BIRTHDAY_PROBES = 1024
"""256 sockets are met by one of 1,024 probes with a probability of 98.3 %:
1 - C(N - 256, 1024) / C(N, 1024) for N = 64,512 ports. Where the fan's NAT spreads its
mappings over two addresses it is 87.0 %: twice as many ports, and not more probes,
because each costs the prober's router an entry. So a second volley, of as many other
ports, follows only if nothing answers: 99.97 %, or 98.3 % for two addresses, in all."""

BIRTHDAY_FIRST_SOCKETS = 64
"""Sockets that a fan begins with where nothing is known of its NAT: well below what
the strictest carriers let a customer hold. Two volleys meet one in 87 % of attempts."""

PROBE_INTERVAL = 0.001
"""Seconds between two probes."""

FRESH_SOCKETS = 1

PREDICTION_SOCKETS = 25
PREDICTION_PORTS = 40
"""Ports after the last observed one that a prober tries. Other hosts behind the NAT
may take some of them; the fan's sockets are spread over what remains."""

PREDICTION_OFFSET = 20
"""Which port after the last observed one two fans aim at: each still covers it when
up to 19 others were taken in between."""

SAMPLES = 3
"""Mappings that are observed right before a prediction."""

FIRST_PORT, LAST_PORT = 1024, 65535


class PunchMethod(Enum):
    """A way to open a direct path after plain punching failed, the cheapest first."""

    FRESH = "fresh-socket"
    PREDICTION = "prediction"
    BIRTHDAY = "birthday"


class Role(Enum):
    """What a side does in a method."""

    FAN = "fan"
    PROBE = "probe"


def plain_possible(own: NatTraits, peer: NatTraits) -> bool:
    """Tell whether simultaneous checks should be enough; what is unknown may be so."""
    if own.blocked or peer.blocked:
        return False
    return _accepts(own, peer) or _accepts(peer, own)


def roles(
    own: NatTraits, peer: NatTraits, method: PunchMethod
) -> tuple[Role, Role] | None:
    """Return who does what, own side first, or ``None`` if the method cannot work."""
    if own.blocked or peer.blocked:
        return None
    if method is PunchMethod.FRESH:
        # Where ports depend on the destination, a new socket is nothing new.
        return None if own.is_hard or peer.is_hard else (Role.FAN, Role.FAN)
    if plain_possible(own, peer):
        return None
    if method is PunchMethod.PREDICTION:
        return _prediction_roles(own, peer)
    return _birthday_roles(own, peer)


def predicted_ports(base: int, delta: int, count: int = PREDICTION_PORTS) -> list[int]:
    """Return the ports that a sequential NAT gives out after ``base``."""
    return [port_after(base, delta, step) for step in range(1, count + 1)]


def port_after(base: int, delta: int, steps: int) -> int:
    """Return the port that many steps after ``base``; the sequence wraps around."""
    return (base - FIRST_PORT + delta * steps) % _PORTS + FIRST_PORT


def observed_delta(ports: list[int], expected: int) -> int:
    """Return the step between ports observed in order.

    Other hosts may have taken ports in between, so the smallest step seen counts, if
    it leads the expected way; ``expected`` is what the NAT was found to do before.
    """
    steps = [second - first for first, second in pairwise(ports)]
    likely = [step for step in steps if step * expected > 0]
    smallest = min(likely, key=abs, default=expected)
    return smallest if abs(smallest) < abs(expected) else expected


def random_ports(random: Random, count: int = BIRTHDAY_PROBES) -> Iterator[int]:
    """Yield different random ports: a shuffle that stops early (Fisher-Yates)."""
    moved: dict[int, int] = {}
    for index in range(min(count, _PORTS)):
        left = _PORTS - index
        # 32 random bits for at most 64,512 values: the bias is below 0.002 %.
        chosen = index + int.from_bytes(random(4)) % left
        yield FIRST_PORT + moved.get(chosen, chosen)
        moved[chosen] = moved.get(index, index)


_PORTS = LAST_PORT - FIRST_PORT + 1


def _accepts(node: NatTraits, peer: NatTraits, *, predict: bool = False) -> bool:
    if node.filtering is Filtering.ENDPOINT_INDEPENDENT:
        return True
    known = _is_known(node, predict)
    if node.filtering is Filtering.ADDRESS_DEPENDENT and known:
        return True
    return known and _is_known(peer, predict)


def _is_known(node: NatTraits, predict: bool) -> bool:
    return not node.is_hard or (predict and node.is_sequential)


def _prediction_roles(own: NatTraits, peer: NatTraits) -> tuple[Role, Role] | None:
    possible = _accepts(own, peer, predict=True) or _accepts(peer, own, predict=True)
    if not possible:
        return None
    fans = own.is_hard and own.is_sequential, peer.is_hard and peer.is_sequential
    if fans == (True, True):
        return Role.FAN, Role.FAN
    return (Role.FAN, Role.PROBE) if fans[0] else (Role.PROBE, Role.FAN)


def _birthday_roles(own: NatTraits, peer: NatTraits) -> tuple[Role, Role] | None:
    if _can_fan(own, peer):
        return Role.FAN, Role.PROBE
    return (Role.PROBE, Role.FAN) if _can_fan(peer, own) else None


def _can_fan(fan: NatTraits, prober: NatTraits) -> bool:
    by_address = fan.filtering is Filtering.ADDRESS_DEPENDENT
    return fan.is_hard and (not prober.is_hard or by_address)
