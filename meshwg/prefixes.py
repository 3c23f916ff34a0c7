"""Networks behind nodes: how they are written, and which ones nobody can offer.

What a node announces is a claim that others would send their packets after. So both
sides judge it by the same rules: the coordinator before it tells anybody, and each node
before it believes a coordinator.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

SHORTEST = {4: 8, 6: 16}
"""Bits that a route has at least, by IP version. Otherwise two routes to halves would
be a route to everything that no rule against default routes sees; as many of these as
a node may announce are not even a quarter."""

PUBLIC_SHARE = {4: 1 << 28, 6: 1 << 121}
"""Public addresses that all nodes together may have behind them, by IP version: a
sixteenth of IPv4, and of the part of IPv6 that is in use (2000::/3). Otherwise networks
that are each small enough would be everything together."""

_PRIVATE = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"),
        "fc00::/7",
    )
)

_IPV6_INTERNET = ip_network("2000::/3")
"""The part of IPv6 that is in use."""
_SIX_TO_FOUR = ip_network("2002::/16")
"""IPv4 addresses in disguise, private ones too (RFC 3056)."""

_NOBODYS = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
        *("::/96", "fe80::/10", "ff00::/8"),
    )
)
"""What is this machine's own, its link's or a group's, whoever announces it."""


@lru_cache(maxsize=4096)
def to_address(text: str) -> IPAddress:
    """Return an address, the same object for what was read lately.

    A netmap has thousands, and several parts of a node look at each of them at once.

    :raises ValueError: if it is none.
    """
    return IPv6Address(text) if ":" in text else IPv4Address(text)


@lru_cache(maxsize=4096)
def to_network(text: str) -> IPNetwork:
    """Return the same of a network, or of an address, which is one by itself.

    :raises ValueError: if it is none, or has host bits.
    """
    return IPv6Network(text) if ":" in text else IPv4Network(text)


def canonical(text: str) -> str:
    """Return a network in its usual form.

    :raises ValueError: if it is none, has host bits, or a zone: the name of a link
        means nothing on another machine.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which means nothing elsewhere")
    return str(ip_network(text))


def readable(texts: Iterable[str]) -> tuple[str, ...]:
    """Return those texts that are networks, in their usual form."""
    found: list[str] = []
    for text in texts:
        try:
            found.append(canonical(text))
        except ValueError:
            # One that cannot be read does not stop the others.
            continue
    return tuple(found)


def without_zones(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the networks of a node, without what only older nodes take for one.

    :raises ValueError: if another one is none.
    """
    return tuple(canonical(text) for text in texts if "%" not in text)


@lru_cache(maxsize=16_384)
def network(text: str) -> IPNetwork:
    """Return the network that a text names, which is read again and again.

    :raises ValueError: if it is none.
    """
    return ip_network(text)


@lru_cache(maxsize=16_384)
def refusal(route: IPNetwork, mesh: tuple[IPNetwork, ...]) -> str | None:
    """Return why no node can have a network behind it, ``None`` if one can.

    :param mesh: the networks of the mesh.
    """
    if route.prefixlen < SHORTEST[route.version]:
        return f"it has less than {SHORTEST[route.version]} bits and so takes too much"
    if any(overlap(route, each) for each in mesh):
        return "it overlaps the addresses of the mesh"
    if any(overlap(route, each) for each in _NOBODYS):
        return "its addresses are those of each machine itself, or of its own link"
    return None


@lru_cache(maxsize=4096)
def public_size(text: str) -> int:
    """Return how many addresses of the internet a network has, in its usual form."""
    network = ip_network(text)
    if any(is_within(network, each) for each in _PRIVATE):
        return 0
    return network.num_addresses


def is_private(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address means different machines in different networks."""
    return any(
        address.version == each.version and address in each
        for each in (*_PRIVATE, *_NOBODYS)
    )


def private(version: int) -> tuple[IPNetwork, ...]:
    """Return the networks of an IP version that many have, each for itself."""
    return tuple(each for each in _PRIVATE if each.version == version)


@lru_cache(maxsize=64)
def internet(*but: IPNetwork) -> tuple[IPNetwork, ...]:
    """Return what the internet consists of: addresses that are one machine's anywhere.

    :param but: networks that are left out, for example those that a machine is in.
    """
    left: list[IPNetwork] = [ip_network("0.0.0.0/0"), _IPV6_INTERNET]
    for taken in (*_PRIVATE, *_NOBODYS, _SIX_TO_FOUR, *but):
        left = [part for each in left for part in _without(each, taken)]
    return tuple(sorted(left, key=_by_address))


def _without(network: IPNetwork, taken: IPNetwork) -> Iterable[IPNetwork]:
    """Return the parts of a network that are outside of another one."""
    if not overlap(network, taken):
        return (network,)
    if is_within(network, taken):
        return ()
    if isinstance(network, IPv4Network) and isinstance(taken, IPv4Network):
        return network.address_exclude(taken)
    if isinstance(network, IPv6Network) and isinstance(taken, IPv6Network):
        return network.address_exclude(taken)
    return (network,)


def _by_address(network: IPNetwork) -> tuple[int, int]:
    return network.version, int(network.network_address)


def is_within(part: IPNetwork, whole: IPNetwork) -> bool:
    """Tell whether all addresses of a network are in another."""
    if isinstance(part, IPv4Network):
        return isinstance(whole, IPv4Network) and part.subnet_of(whole)
    return isinstance(whole, IPv6Network) and part.subnet_of(whole)


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Tell whether two networks have an address in common."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)
