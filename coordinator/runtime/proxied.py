"""Who a client is where a proxy passes on what it sends.

A proxy says so in ``X-Forwarded-For``, or in a header of the PROXY protocol before
anything else (:mod:`coordinator.proxyheader`). Only proxies that are named are
believed, and one on the loopback where the coordinator has the URL of a proxy. Of
``X-Forwarded-For`` the last entry counts that is no such proxy itself: what stands
before that is the client's own.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from aiohttp import web

FORWARDED_FOR = "X-Forwarded-For"


class TrustedProxies:
    """Whose word on others counts.

    :param networks: of the proxies.
    :param loopback: whether what connects from this machine's loopback is one, too.
    """

    def __init__(self, networks: Iterable[str] = (), *, loopback: bool = False) -> None:
        self._loopback = loopback
        self.use(networks)

    def use(self, networks: Iterable[str]) -> None:
        """Believe the proxies in these networks from now on."""
        self._networks = [ipaddress.ip_network(each) for each in networks]

    def trusts(self, host: str) -> bool:
        """Tell whether a proxy at a numeric address is believed."""
        address = _address(host)
        if address is None:
            return False
        if self._loopback and address.is_loopback:
            return True
        return any(address in network for network in self._networks)

    def client_of(self, remote: str, headers: Mapping[str, str]) -> str:
        """Return the address of a client, or of what stands for it.

        :param remote: who is at the other end of the connection.
        :param headers: of a request.
        """
        client = remote
        for told in _entries(headers):
            address = _address(told)
            if address is None or not self.trusts(client):
                break
            client = str(address)
        return client


def came_in_clear(request: web.Request) -> bool:
    """Tell whether a proxy says that a request came without TLS, or says nothing."""
    if FORWARDED_FOR not in request.headers:
        return False
    return request.headers.get("X-Forwarded-Proto", "").lower() != "https"


def is_loopback(host: str) -> bool:
    """Tell whether a numeric address is this machine's loopback."""
    address = _address(host)
    return address is not None and address.is_loopback


def _entries(headers: Mapping[str, str]) -> Iterator[str]:
    """Yield who is named in ``X-Forwarded-For``, the last first.

    Who puts one line below another has added to the list as with a comma.
    """
    lines = [value for name, value in headers.items() if name.title() == FORWARDED_FOR]
    for line in reversed(lines):
        yield from (entry.strip() for entry in reversed(line.split(",")))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a numeric address, a mapped one as what it maps; else ``None``."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
