"""The internet of a lab: one routing core with a separate link to each customer.

Customers share address ranges but no link. There is exactly one router hop between any
two of them, so a packet whose TTL expires there opens its sender's NAT without reaching
the other one. Consecutive customers get addresses from different ranges, and a customer
with several IPv4 addresses gets them from several ranges, as RFC 5780 requires of a
server.

The addresses are those reserved for documentation (RFC 5737, RFC 3849), with one
exception: port-mapping daemons refuse to work behind an address that is known to be
reserved, so their routers get addresses from a range that belongs to somebody. That
does no harm, since no packet leaves a lab's namespaces.
"""

import itertools
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from netlab import links
from netlab.errors import LabError
from netlab.links import Port
from netlab.machine import FORWARDING, Attachment, Machine, Request

RANGES4 = (IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.0/24"))
ROUTABLE4 = IPv4Network("1.2.3.0/24")
NETWORKS4 = (*RANGES4, ROUTABLE4)
LANS4 = IPv4Network("192.0.2.0/24")
"""A customer without NAT gets a /28 of it for its local network."""
RANGE6 = IPv6Network("2001:db8::/64")
SITES6 = IPv6Network("2001:db8::/32")
"""Each customer may get a /48 of it, counted from 1."""
GATEWAY6 = "fe80::1"


class Internet(Machine):
    """The routing core; machines are attached to it with public addresses."""

    def set_up(self) -> None:
        """Start to route; called once, when the lab makes it."""
        self.namespace.set_sysctl(FORWARDING)
        self._customers = itertools.count(1)
        self._sites = itertools.count(1)
        self._turn = itertools.cycle(range(len(RANGES4)))
        self._lans = LANS4.subnets(new_prefix=28)
        self._used = {_gateway4(each) for each in NETWORKS4}

    def attach(self, machine: Machine, interface: str, request: Request) -> Attachment:
        """Give a machine a link, public addresses and a default route."""
        number = next(self._customers)
        near = Port(machine.namespace, interface)
        far = Port(self.namespace, f"p{number}")
        addresses = list(request.addresses) or list(self._next_addresses(request))
        for address in addresses:
            self._claim(address)
        links.connect(near, far)
        routes = _routes(addresses, interface)
        links.ip(
            self.namespace,
            *(
                f"address add {_gateway4(each)}/32 dev {far.interface}"
                for each in NETWORKS4
            ),
            f"address add {GATEWAY6}/64 dev {far.interface} nodad",
            *(f"route add {_prefix(each)} dev {far.interface}" for each in addresses),
        )
        links.ip(
            machine.namespace,
            *(links.add_address(_prefix(each), interface) for each in addresses),
            *routes,
        )
        return Attachment(self, near, far, addresses, routes)

    def release(self, attachment: Attachment) -> None:
        """Free the addresses of a machine that leaves."""
        self._used -= set(attachment.addresses)

    def delegate4(self, attachment: Attachment) -> IPv4Network:
        """Route an unused IPv4 subnet (a /28) to a customer."""
        subnet = next(self._lans)
        self._route(subnet, attachment, next(a for a in attachment.addresses))
        return subnet

    def delegate6(self, attachment: Attachment) -> IPv6Network:
        """Route an unused IPv6 prefix (a /48) to a customer."""
        base = int(SITES6.network_address) + (next(self._sites) << 80)
        site = IPv6Network((base, 48))
        self._route(site, attachment, next(a for a in attachment.addresses if ":" in a))
        return site

    def renumber(self, attachment: Attachment, count4: int = 1) -> list[str]:
        """Give a customer other IPv4 addresses, as when it dials in again."""
        interface, far = attachment.port.interface, attachment.far.interface
        old = [each for each in attachment.addresses if "." in each]
        new = list(self._next_addresses(Request(count4=count4, ipv6=False)))
        for address in new:
            self._claim(address)
        kept = [each for each in attachment.addresses if ":" in each]
        attachment.addresses = new + kept
        attachment.routes = _routes(attachment.addresses, interface)
        machine = attachment.port.namespace
        links.ip(self.namespace, *(f"route add {each}/32 dev {far}" for each in new))
        links.ip(
            machine,
            *(f"address add {each}/32 dev {interface}" for each in new),
            *attachment.routes,
            *(f"address delete {each}/32 dev {interface}" for each in old),
        )
        links.ip(self.namespace, *(f"route delete {each}/32" for each in old))
        self._used -= set(old)
        return new

    def _route(
        self, network: IPv4Network | IPv6Network, attachment: Attachment, via: str
    ) -> None:
        interface = attachment.far.interface
        links.ip(self.namespace, f"route add {network} via {via} dev {interface}")

    def _next_addresses(self, request: Request) -> Iterator[str]:
        first, taken = next(self._turn), set(self._used)
        for index in range(request.count4):
            network = RANGES4[(first + index) % len(RANGES4)]
            if request.routable:
                network = ROUTABLE4
            found = next(str(a) for a in network.hosts() if str(a) not in taken)
            taken.add(found)
            yield found
        if request.ipv6:
            hosts = (RANGE6.network_address + n for n in itertools.count(2))
            yield next(str(a) for a in hosts if str(a) not in self._used)

    def _claim(self, address: str) -> None:
        networks = (*NETWORKS4, RANGE6)
        if not any(ip_address(address) in network for network in networks):
            raise LabError(f"{address} is not in {', '.join(map(str, networks))}.")
        if address in self._used:
            raise LabError(f"{address} is taken in this lab's internet.")
        self._used.add(address)


def _routes(addresses: list[str], interface: str) -> list[str]:
    routes = []
    for address in addresses:
        if "." in address:
            network = next(e for e in NETWORKS4 if ip_address(address) in e)
            gateway = _gateway4(network)
            routes.append(f"route replace {gateway}/32 dev {interface}")
            # New traffic leaves with the first address.
            if not any("default via" in route for route in routes):
                routes.append(
                    f"route replace default via {gateway} dev {interface} src {address}"
                )
        else:
            routes.append(f"route replace default via {GATEWAY6} dev {interface}")
    return routes


def _gateway4(network: IPv4Network) -> str:
    return str(network.network_address + 1)


def _prefix(address: str) -> str:
    """Return the address as a network of its own."""
    length = 128 if isinstance(ip_address(address), IPv6Address) else 32
    return f"{address}/{length}"
