"""Who a client is where a proxy on this machine passes on what it sends.

Only a proxy on the loopback is believed, and only the last entry of its
``X-Forwarded-For``: what stands before that is the client's own.
"""

import ipaddress

from aiohttp import web


def address_of(request: web.Request, *, is_proxied: bool) -> str:
    """Return the address of a client, or of what stands for it.

    :param is_proxied: whether a proxy is expected in front.
    """
    remote = request.remote or ""
    if not is_proxied or not is_loopback(remote):
        return remote
    told = request.headers.getall("X-Forwarded-For", [""])[-1]
    try:
        return str(ipaddress.ip_address(told.rpartition(",")[2].strip()))
    except ValueError:
        return remote


def came_in_clear(request: web.Request) -> bool:
    """Tell whether a proxy says that a request came without TLS, or says nothing."""
    if "X-Forwarded-For" not in request.headers:
        return False
    return request.headers.get("X-Forwarded-Proto", "").lower() != "https"


def is_loopback(host: str) -> bool:
    """Tell whether a numeric address is this machine's loopback."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
