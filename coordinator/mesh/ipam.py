"""Mesh addresses: one number per node, an IPv4 and an IPv6 address from it."""

import ipaddress
from collections.abc import Container, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from meshwg.errors import ConfigError
from meshwg.prefixes import refusal
from meshwg.transmit import Random

SHARED_SPACE = IPv4Network("100.64.0.0/10")
"""Space that no LAN uses, because carriers do (RFC 6598)."""
PRIVATE_SPACES = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"))
"""Where to look if that is taken, for example by Tailscale, which drops whatever has
its source in it and comes from elsewhere."""
MAX_NODES = 1 << 20
"""A bound on what is searched, however large the networks are."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The two prefixes of a mesh."""

    v4: IPv4Network
    v6: IPv6Network

    @classmethod
    def parse(cls, v4: str, v6: str) -> "Networks":
        """Read two prefixes in CIDR form.

        :raises ConfigError: if one is not a prefix, or has no room for two nodes.
        """
        try:
            networks = cls(IPv4Network(v4), IPv6Network(v6))
        except ValueError as error:
            raise ConfigError(f"The mesh network is wrong: {error}") from None
        if networks.capacity < 2:
            raise ConfigError(
                f"The mesh networks {v4} and {v6} are too small; use /29 and /120, "
                "or larger ones"
            )
        return networks

    @property
    def capacity(self) -> int:
        """How many nodes fit: the first and the last IPv4 address stay free."""
        hosts = min(self.v4.num_addresses, self.v6.num_addresses) - 2
        return min(hosts, MAX_NODES)

    @property
    def prefixes(self) -> tuple[str, str]:
        return str(self.v4), str(self.v6)

    def addresses(self, number: int) -> tuple[str, str]:
        """Return both addresses of a node's number (1 … capacity)."""
        return str(self.v4[number]), str(self.v6[number])


def choose_networks(
    random: Random,
    v4: str | None = None,
    v6: str | None = None,
    taken: Sequence[IPv4Network] = (),
) -> Networks:
    """Return a mesh's networks: a random one for each that is not configured.

    A /16 of the shared space (RFC 6598) and a unique local /48 (RFC 4193 section 3.2),
    so that two meshes that meet on one machine seldom collide.

    :param taken: networks of this machine, which are avoided.
    :raises ConfigError: if a configured one cannot be used.
    """
    if v4 is None:
        v4 = str(_choose_v4(random, taken))
    if v6 is None:
        v6 = str(ipaddress.ip_network((b"\xfd" + random(5) + bytes(10), 48)))
    networks = Networks.parse(v4, v6)
    for network in (networks.v4, networks.v6):
        # Nodes would not believe in it.
        if (why := refusal(network, ())) is not None:
            raise ConfigError(f"The mesh network {network} cannot be used: {why}")
    return networks


def _choose_v4(random: Random, taken: Sequence[IPv4Network]) -> IPv4Network:
    """Return a /16 that is not taken, from the best space that has one."""
    first = int.from_bytes(random(1))
    for space in (SHARED_SPACE, *PRIVATE_SPACES):
        count = 1 << (16 - space.prefixlen)
        for step in range(count):
            second = (first + step) % count
            network = IPv4Network((space[second << 16], 16))
            if not any(network.overlaps(each) for each in taken):
                return network
    # Some of it must be; the node says which addresses are not reached.
    return IPv4Network((SHARED_SPACE[first % 64 << 16], 16))


def allocate(networks: Networks, taken: Container[int], random: Random) -> int | None:
    """Return a free number, ``None`` if there is none.

    The search starts at a random place, so that the address of a removed node is not
    the next one to be given away.
    """
    capacity = networks.capacity
    start = int.from_bytes(random(4)) % capacity
    for step in range(capacity):
        number = (start + step) % capacity + 1
        if number not in taken:
            return number
    return None
