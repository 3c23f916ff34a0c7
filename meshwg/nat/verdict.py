"""What a network allows, in one sentence for the user."""

from meshwg.nat.behaviour import NatBehavior
from meshwg.nattypes import Filtering, Mapping, NatType, PortAllocation

EVERYONE = "direct paths work to every peer that has UDP"
CONES = (
    "direct paths work to all peers but those behind symmetric NATs; "
    "those need port prediction, the birthday method or the relay"
)
OPEN_PEERS = "direct paths work to peers behind full-cone or address-restricted NATs"


def verdict(
    ipv4: NatBehavior,
    ipv6: NatBehavior | None = None,
    forwarder: str | None = None,
    *,
    is_offline: bool = False,
) -> str:
    """Return the sentence.

    :param ipv6: ``None`` where the host has no IPv6.
    :param forwarder: the protocol by which the gateway forwards a port, if it does.
    :param is_offline: whether there is no route to any server.
    """
    if is_offline:
        return "This machine is offline: it has no route to any STUN server."
    if ipv6 is not None and _tells_more(ipv6, ipv4):
        return f"Over IPv6 only: {_start_low(_of_one(ipv6, forwarder))}."
    sentence = _of_one(ipv4, forwarder)
    if ipv4.reachable and ipv6 is not None and ipv6.reachable:
        sentence += "; between peers that have IPv6, as here, NATs do not matter"
    return sentence + "."


def _tells_more(one: NatBehavior, other: NatBehavior) -> bool:
    """Tell whether a server answered, or at least was asked, in one family only."""
    if one.reachable or other.reachable:
        return not other.reachable
    return one.blocked and not other.blocked


def _of_one(nat: NatBehavior, forwarder: str | None) -> str:
    """Return the sentence for one family, without its full stop."""
    if nat.blocked:
        return (
            "No STUN server answered, so UDP is blocked here or they are down: "
            "all traffic goes through the relay over TCP"
        )
    if not nat.reachable:
        return (
            "Nothing is known about this network, as there was no STUN server to ask: "
            "name one with --stun"
        )
    if forwarder is not None:
        return f"{_name(nat)}, but the router forwards a port ({forwarder}): {EVERYONE}"
    return f"{_name(nat)}: {_reach(nat)}"


def _name(nat: NatBehavior) -> str:
    if nat.type is NatType.SYMMETRIC:
        return f"Symmetric NAT{_PORTS[nat.port_allocation]}"
    if nat.mapping is Mapping.NONE and nat.filtering is Filtering.UNKNOWN:
        return "No NAT, and perhaps a firewall"
    if nat.mapping is Mapping.ENDPOINT_INDEPENDENT and nat.type is NatType.UNKNOWN:
        return "Cone NAT with unknown filtering"
    return _NAMES[nat.type]


def _reach(nat: NatBehavior) -> str:
    """Return who can be reached directly, and how the others can."""
    if nat.mapping is Mapping.UNKNOWN and not nat.varies:
        return "direct paths are tried to every peer, and the relay serves meanwhile"
    if nat.filtering is Filtering.ENDPOINT_INDEPENDENT:
        return EVERYONE
    if nat.is_endpoint_known:
        return EVERYONE if nat.filtering is Filtering.ADDRESS_DEPENDENT else CONES
    if nat.filtering is Filtering.ADDRESS_DEPENDENT:
        return f"{OPEN_PEERS}; others need the birthday method"
    if nat.port_allocation is PortAllocation.SEQUENTIAL:
        return f"{OPEN_PEERS}; others need port prediction or the relay"
    return f"{OPEN_PEERS}; others need the birthday method or the relay"


def _start_low(text: str) -> str:
    is_acronym = text[:3].isupper()
    return text if is_acronym else text[0].lower() + text[1:]


_NAMES = {
    NatType.OPEN_INTERNET: "No NAT and no firewall",
    NatType.FULL_CONE: "Full-cone NAT",
    NatType.RESTRICTED_CONE: "Address-restricted cone NAT",
    NatType.PORT_RESTRICTED_CONE: "Port-restricted cone NAT",
    NatType.SYMMETRIC_UDP_FIREWALL: "No NAT, but a firewall that lets only answers in",
    NatType.UNKNOWN: "UDP works, but the kind of NAT could not be measured",
}
_PORTS = {
    PortAllocation.PRESERVING: "",
    PortAllocation.SEQUENTIAL: " with sequential ports",
    PortAllocation.RANDOM: " with random ports",
    PortAllocation.UNKNOWN: "",
}
