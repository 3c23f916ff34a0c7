"""Which peers a relay may be asked to talk to, so that nobody enters its network."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Protocol

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

REFUSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # the inside of carriers' NATs
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and the metadata services of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.168.0.0/16",  # private
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/127",  # unspecified, loopback
        "fc00::/7",  # private
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, of old
        "ff00::/8",  # multicast
    )
)
"""RFC 8656 section 21.3.3 and the registries of RFC 6890. The ranges for documentation
are not here: no packet to them gets anywhere, and laboratories use them."""

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


class Membership(Protocol):
    """Who belongs to the mesh, by what a relay sees of them."""

    def has_user(self, user: str) -> bool:
        """Return whether a member has this name at relays."""

    def has_host(self, host: str) -> bool:
        """Return whether a member can be reached at this address."""


class Everybody:
    """The membership where a relay serves whoever has credentials, and to anywhere."""

    def has_user(self, user: str) -> bool:
        return True

    def has_host(self, host: str) -> bool:
        return True


class PeerRules:
    """Decides by address. What is allowed wins over what is denied or refused."""

    def __init__(self, allowed: Iterable[str] = (), denied: Iterable[str] = ()) -> None:
        """Take networks in CIDR form.

        :param allowed: ranges that are fine although :data:`REFUSED` has them, such as
            the private network a company's nodes live in.
        :param denied: the server's own networks, where public addresses are private
            in effect.
        :raises ValueError: if one of them is not a network.
        """
        self._allowed = tuple(ip_network(network) for network in allowed)
        self._denied = (*REFUSED, *(ip_network(network) for network in denied))
        self.permits = lru_cache(maxsize=4096)(self._permits)

    def is_allowed(self, host: str) -> bool:
        """Return whether an address is in one of the networks that were allowed."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._allowed)

    def _permits(self, host: str) -> bool:
        """Return whether a client may have a peer at this numeric address."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return all(self._is_fine(each) for each in _meanings(address))

    def _is_fine(self, address: Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        return not any(address in network for network in self._denied)


def _meanings(address: Address) -> list[Address]:
    """Return the address and the IPv4 address that hides in it, if one does."""
    if isinstance(address, IPv4Address):
        return [address]
    hidden = address.ipv4_mapped or address.sixtofour
    if hidden is None and (address in _NAT64 or address in _COMPATIBLE):
        hidden = IPv4Address(int(address) & 0xFFFFFFFF)
    return [address] if hidden is None else [address, hidden]
