"""Kinds of routers, named after the equipment that behaves so.

Each says where it is seen and whether hole punching works behind it. "Works" means:
with peers behind any NAT that maps endpoint-independently.
"""

from dataclasses import dataclass

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from netlab.nat import Behaviour, Block, WanInput


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of access to the internet."""

    name: str
    behaviour: Behaviour | None
    """``None``: no router at all, the host has a public address."""
    seen: str
    """On which equipment, or where."""
    punching: str
    """Whether and how direct paths come about behind it."""
    carrier: Behaviour | None = None
    """A second NAT between this router and the internet."""


_BY_ADDRESS = Filtering.ADDRESS_DEPENDENT
_SYMMETRIC = Mapping.ADDRESS_AND_PORT_DEPENDENT

PUBLIC = Preset(
    "public",
    None,
    seen="rented servers",
    punching="not needed",
)
HOME_ROUTER = Preset(
    "home-router",
    Behaviour(lifetime=300, hairpinning=True),
    seen="consumer routers that follow RFC 4787, such as FRITZ!Box",
    punching="works",
)
LINUX = Preset(
    "linux",
    Behaviour(kernel=True),
    seen="plain masquerade: OpenWrt, Docker, virtual machines, phone hotspots",
    punching="works unless two hosts behind it use one port",
)
FULL_CONE = Preset(
    "full-cone",
    Behaviour(filtering=Filtering.ENDPOINT_INDEPENDENT, hairpinning=True),
    seen='gaming routers, "NAT type A", routers with a DMZ host',
    punching="works, even one-sided",
)
ADDRESS_RESTRICTED = Preset(
    "address-restricted",
    Behaviour(filtering=_BY_ADDRESS),
    seen="older consumer routers, recommended by RFC 4787 for privacy",
    punching="works, also with symmetric peers",
)
PORT_RESTRICTED = Preset(
    "port-restricted",
    Behaviour(),
    seen="most consumer routers",
    punching="works",
)
OFFICE = Preset(
    "office",
    Behaviour(_SYMMETRIC, ports=PortAllocation.RANDOM),
    seen="office firewalls: pfSense, FortiGate, Cisco ASA in their defaults",
    punching="prediction fails; the birthday method works with easy peers",
)
ADDRESS_DEPENDENT = Preset(
    "address-dependent",
    Behaviour(Mapping.ADDRESS_DEPENDENT, ports=PortAllocation.RANDOM),
    seen="some carrier equipment",
    punching="as behind an office firewall",
)
SYMMETRIC_OPEN = Preset(
    "symmetric-open",
    Behaviour(_SYMMETRIC, Filtering.ENDPOINT_INDEPENDENT, PortAllocation.RANDOM),
    seen="some carrier equipment, which saves ports but not entries",
    punching="works: whoever is sent to may answer, and so may anybody",
)
SYMMETRIC_ADDRESS_RESTRICTED = Preset(
    "symmetric-address-restricted",
    Behaviour(_SYMMETRIC, _BY_ADDRESS, PortAllocation.RANDOM),
    seen="some carrier equipment",
    punching="the birthday method works with most peers",
)
SEQUENTIAL = Preset(
    "sequential",
    Behaviour(_SYMMETRIC, ports=PortAllocation.SEQUENTIAL),
    seen="older enterprise routers and DSL gateways",
    punching="the next port can be predicted",
)
TWO_ADDRESSES = Preset(
    "two-addresses",
    Behaviour(_SYMMETRIC, ports=PortAllocation.RANDOM, public_addresses=2),
    seen="offices and campuses with a pool of public addresses",
    punching="as behind an office firewall, if both addresses are tried",
)
CARRIER = Preset(
    "carrier",
    Behaviour(filtering=Filtering.ENDPOINT_INDEPENDENT, lifetime=60),
    seen="mobile networks and fibre providers that follow RFC 6888",
    punching="works, even one-sided",
)
CLOUD = Preset(
    "cloud",
    Behaviour(_SYMMETRIC, ports=PortAllocation.RANDOM, lifetime=350, reject=True),
    seen="NAT gateways of cloud providers, which forget after 350 s",
    punching="the birthday method works with easy peers",
)
SLOPPY = Preset(
    "sloppy",
    Behaviour(kernel=True, wan_input=WanInput.ACCEPT),
    seen="self-made Linux routers without a firewall on the WAN side",
    punching="works if first packets end between the two NATs (low TTL), or from ports "
    "to which nobody has sent",
)
REJECTING = Preset(
    "rejecting",
    Behaviour(kernel=True, wan_input=WanInput.REJECT),
    seen="OpenWrt in its defaults",
    punching="works: errors must not stop the attempt",
)
DOUBLE_CONE = Preset(
    "double-cone",
    Behaviour(kernel=True),
    carrier=Behaviour(filtering=Filtering.ENDPOINT_INDEPENDENT, lifetime=60),
    seen="a home router behind a carrier NAT, or behind another router",
    punching="works as behind the stricter of the two",
)
DOUBLE_SYMMETRIC = Preset(
    "double-symmetric",
    Behaviour(kernel=True),
    carrier=Behaviour(_SYMMETRIC, ports=PortAllocation.RANDOM),
    seen="a home router behind a mobile carrier that saves ports",
    punching="as behind an office firewall",
)
FIREWALL = Preset(
    "firewall",
    Behaviour(Mapping.NONE),
    seen="universities and companies with public addresses inside",
    punching="works",
)
UDP_BLOCKED = Preset(
    "udp-blocked",
    Behaviour(block=Block.UDP, kernel=True),
    seen="guest networks, hotels, trains",
    punching="impossible with UDP; works over TCP if the other NAT lets it",
)
TCP_SYMMETRIC = Preset(
    "tcp-symmetric",
    Behaviour(block=Block.UDP, kernel=True, tcp_mapping=_SYMMETRIC),
    seen="guest networks behind a firewall that draws a port for each connection",
    punching="impossible; over TCP only to public hosts and mapped ports",
)
ALL_SYMMETRIC = Preset(
    "all-symmetric",
    Behaviour(_SYMMETRIC, ports=PortAllocation.RANDOM, tcp_mapping=_SYMMETRIC),
    seen="strict office firewalls and some carriers",
    punching="as behind an office firewall, and no help from TCP",
)
ONLY_443 = Preset(
    "only-443",
    Behaviour(block=Block.ALL_BUT_443, kernel=True, reject=True),
    seen="company networks that let the web out and nothing else",
    punching="impossible: the relay over TLS on port 443",
)
IPV6 = Preset(
    "ipv6",
    Behaviour(_SYMMETRIC, ports=PortAllocation.RANDOM, ipv6=True),
    seen="dual-stack consumer lines, here with the worst IPv4",
    punching="works over IPv6 through its stateful firewall",
)
PORT_MAPPING = Preset(
    "port-mapping",
    Behaviour(kernel=True, port_mapping=True),
    seen="consumer routers with UPnP, NAT-PMP or PCP switched on",
    punching="not needed: the router opens the port on request",
)

ALL = {
    preset.name: preset
    for preset in list(globals().values())
    if isinstance(preset, Preset)
}
