"""NAT behaviours out of nftables: the only module that writes nftables text.

A NAT is composed of independent choices (RFC 4787): how it maps, what it lets in,
how it chooses ports, how long it remembers. Linux's conntrack knows one combination
only; the others are made of dynamic maps that remember what conntrack chose:

===========  ==================================================================
``mapped``   inside endpoint (and destination address) to outside endpoint,
             asked before a new mapping is made
``used``     outside ports in use, which another inside endpoint may not share
``reverse``  outside endpoint to inside endpoint: whom new packets are for
``allowed``  outside endpoint and remote address: who may send new packets
===========  ==================================================================

They are filled behind source translation, by every outgoing packet, and forget after
the same time as conntrack. What comes in and is in no map reaches the router itself,
where the WAN policy decides. It should drop: a packet that is accepted there leaves a
conntrack entry, and a later flow to its sender gets another port (a "sloppy" router).
"""

from dataclasses import dataclass
from enum import Enum

from meshwg.nattypes import Filtering, Mapping, PortAllocation

_PER_DESTINATION = Mapping.ADDRESS_AND_PORT_DEPENDENT
FIRST_PORT = 1024
SEQUENCE_START = 20000
SEQUENCE_LENGTH = 2000
"""How many ports a sequential NAT hands out before it starts again."""


class WanInput(Enum):
    """What happens to new packets that are for the router itself."""

    DROP = "drop"
    REJECT = "reject"
    ACCEPT = "accept"


class Block(Enum):
    """What may not leave at all."""

    NOTHING = "nothing"
    UDP = "UDP"
    ALL_BUT_443 = "all but TCP port 443"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything about a router that a user behind it can notice."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    ports: PortAllocation = PortAllocation.PRESERVING
    port_step: int = 1
    """From one sequential port to the next."""
    kernel: bool = False
    """Leave the mapping to Linux's ``masquerade``: endpoint-independent as long as no
    two hosts behind it use one port."""
    public_addresses: int = 1
    """Of which each mapping gets any ("arbitrary pooling")."""
    lifetime: int = 120
    """Seconds that a mapping lives without packets."""
    hairpinning: bool = False
    """Whether two hosts behind it reach each other by their outside endpoints."""
    wan_input: WanInput = WanInput.DROP
    tcp_mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    """The same for TCP. Linux keeps the port where it can, whatever it does to UDP."""
    block: Block = Block.NOTHING
    reject: bool = False
    """Whether it says so (ICMP) to whom it blocks."""
    loss: float = 0.0
    """Share of forwarded packets that are lost, per direction."""
    flows: int | None = None
    """How many flows each machine behind it may hold at once, ``None`` for any number:
    a carrier's quota for each customer."""
    rate_mbit: float | None = None
    """Limit of each direction, in Mbit/s."""
    ipv6: bool = False
    """Whether hosts behind it get IPv6, behind a stateful firewall."""
    port_mapping: bool = False
    """Whether hosts behind it may ask for mappings (PCP, NAT-PMP, UPnP)."""

    def __post_init__(self) -> None:
        symmetric = self.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
        if symmetric and self.ports is PortAllocation.PRESERVING:
            raise ValueError("a symmetric NAT cannot preserve ports")
        plain = self.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
        if self.tcp_mapping not in (Mapping.ENDPOINT_INDEPENDENT, _PER_DESTINATION):
            raise ValueError("TCP is mapped by the port alone, or for each destination")
        if (self.kernel or self.mapping is Mapping.NONE) and not plain:
            raise ValueError("without maps of its own it filters by address and port")


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides of a router."""

    outside: tuple[str, ...]
    """Its public IPv4 addresses."""
    inside: str
    """The subnet of its local network."""
    wan: str = "wan"
    lan: str = "lan"


def ruleset(nat: Behaviour, sides: Sides) -> str:
    """Return what ``nft -f`` turns a router into ``nat`` with, atomically."""
    parts = ["flush ruleset", _firewall(nat, sides)]
    if nat.kernel:
        parts.append(_masquerade(nat, sides))
    elif nat.mapping is not Mapping.NONE:
        parts.append(_translation(nat, sides))
    if nat.port_mapping:
        parts.append(_PORT_MAPPING)
    return "\n".join(parts)


def sysctls(nat: Behaviour) -> dict[str, int]:
    """Return the kernel settings that make conntrack forget as ``nat`` does."""
    return {
        "net.netfilter.nf_conntrack_udp_timeout": nat.lifetime,
        "net.netfilter.nf_conntrack_udp_timeout_stream": nat.lifetime,
    }


def _firewall(nat: Behaviour, sides: Sides) -> str:
    wan, lan = sides.wan, sides.lan
    policy = "accept" if nat.wan_input is WanInput.ACCEPT else "drop"
    rejected = f'iifname "{wan}" reject' if nat.wan_input is WanInput.REJECT else ""
    loss = f"numgen random mod 1000 < {nat.loss * 1000:.0f} drop" if nat.loss else ""
    refusal = "reject with icmpx type admin-prohibited" if nat.reject else "drop"
    blocked = {
        Block.NOTHING: "",
        Block.UDP: f"meta l4proto udp {refusal}",
        Block.ALL_BUT_443: (
            f'iifname "{lan}" meta l4proto != tcp {refusal}\n'
            f'    iifname "{lan}" tcp dport != 443 {refusal}'
        ),
    }[nat.block]
    quota = ""
    if nat.flows is not None:
        count = f"add @customers {{ ip saddr ct count over {nat.flows} }}"
        quota = f'iifname "{lan}" ct state new {count} drop'
    family = "" if nat.ipv6 else "meta nfproto ipv4 "
    mapped = "jump portmap" if nat.port_mapping else ""
    return f"""
table inet firewall {{
  set customers {{
    type ipv4_addr; size 65535; flags dynamic;
  }}
  chain input {{
    type filter hook input priority filter; policy {policy};
    ct state established,related accept
    iifname {{ "lo", "{lan}" }} accept
    meta l4proto ipv6-icmp accept
    {rejected}
  }}
  chain portmap {{
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {loss}
    {blocked}
    {quota}
    ct state established,related accept
    {family}iifname "{lan}" oifname "{wan}" accept
    ct status dnat accept
    {mapped}
  }}
}}
"""


def _masquerade(nat: Behaviour, sides: Sides) -> str:
    is_hard = nat.tcp_mapping is _PER_DESTINATION
    tcp = "meta l4proto tcp masquerade fully-random" if is_hard else ""
    return f"""
table ip nat {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {f'oifname "{sides.wan}" {tcp}' if tcp else ""}
    oifname "{sides.wan}" masquerade
  }}
}}
"""


def _translation(nat: Behaviour, sides: Sides) -> str:
    outside = f"{{ {', '.join(sides.outside)} }}"
    flags = f"flags dynamic,timeout; timeout {nat.lifetime}s; size 65535;"
    by_address = nat.mapping is Mapping.ADDRESS_DEPENDENT
    key_type = "ipv4_addr . inet_service" + (" . ipv4_addr" if by_address else "")
    return f"""
table ip nat {{
  map mapped {{
    type {key_type} : ipv4_addr . inet_service
    {flags}
  }}
  set used {{
    type inet_service
    {flags}
  }}
  map reverse {{
    type ipv4_addr . inet_service : ipv4_addr . inet_service
    {flags}
  }}
  set allowed {{
    type ipv4_addr . inet_service . ipv4_addr
    {flags}
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {_incoming(nat, sides, outside)}
  }}
  chain translate {{
    {_known(nat)}
    {_allocate(nat, sides)}
    {_random_tcp(sides) if nat.tcp_mapping is _PER_DESTINATION else ""}
    snat to {sides.outside[0]}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{sides.wan}" jump translate
    oifname "{sides.lan}" ip saddr {sides.inside} ct status dnat jump translate
  }}
  chain learn {{
    type filter hook postrouting priority srcnat + 100; policy accept;
    {_remember(nat, outside)}
  }}
  chain refresh {{
    type filter hook prerouting priority dstnat + 10; policy accept;
    {_refresh(nat, sides)}
  }}
}}
"""


def _incoming(nat: Behaviour, sides: Sides, outside: str) -> str:
    """Return the rules that send new packets to the host behind a mapping."""
    to_host = "dnat ip to ip daddr . udp dport map @reverse"
    who = {
        Filtering.ENDPOINT_INDEPENDENT: "",
        Filtering.ADDRESS_DEPENDENT: "ip daddr . udp dport . ip saddr @allowed ",
    }
    rules = []
    if nat.filtering in who:
        rules.append(f'iifname "{sides.wan}" meta l4proto udp {who[nat.filtering]}')
    if nat.hairpinning:
        rules.append(f'iifname "{sides.lan}" ip daddr {outside} meta l4proto udp ')
    return "\n    ".join(rule + to_host for rule in rules)


def _known(nat: Behaviour) -> str:
    """Return the rule that uses a mapping again."""
    key = {
        Mapping.ENDPOINT_INDEPENDENT: "ip saddr . udp sport",
        Mapping.ADDRESS_DEPENDENT: "ip saddr . udp sport . ip daddr",
    }.get(nat.mapping)
    return f"meta l4proto udp snat ip to {key} map @mapped" if key else ""


def _allocate(nat: Behaviour, sides: Sides) -> str:
    """Return the rules that make a new mapping, at one of the public addresses."""
    rules = []
    for index, address in enumerate(sides.outside):
        left = len(sides.outside) - index
        drawn = f"numgen random mod {left} 0 " if left > 1 else ""
        if nat.ports is PortAllocation.SEQUENTIAL:
            target = _sequence(address, nat.port_step)
        else:
            target = f"snat to {address}:{FIRST_PORT}-65535 fully-random"
        if nat.ports is PortAllocation.PRESERVING:
            rules.append(f"{drawn}udp sport != @used snat to {address}")
        rules.append(f"meta l4proto udp {drawn}{target}")
    return "\n    ".join(rules)


def _random_tcp(sides: Sides) -> str:
    ports = f"{sides.outside[0]}:{FIRST_PORT}-65535"
    return f"meta l4proto tcp snat to {ports} fully-random"


def _sequence(address: str, step: int) -> str:
    length = min(SEQUENCE_LENGTH, (65535 - SEQUENCE_START) // step)
    ports = (
        f"{index} : {address} . {SEQUENCE_START + index * step}"
        for index in range(length)
    )
    return f"snat ip to numgen inc mod {length} map {{ {', '.join(ports)} }}"


def _remember(nat: Behaviour, outside: str) -> str:
    """Return what every outgoing packet writes into the maps.

    A flow that a remote host began has the inside endpoint in its reply direction.
    """
    # Only after "l4proto udp" in the same rule does nft know what a port is.
    outgoing = f"ip saddr {outside} meta l4proto udp"
    rules = [
        f"{outgoing} update @used {{ udp sport }}",
        f"{outgoing} update @allowed {{ ip saddr . udp sport . ip daddr }}",
    ]
    for direction in ("original", "reply"):
        inside = f"ct {direction} ip saddr . ct {direction} proto-src"
        update = f"{outgoing} ct direction {direction} update"
        rules.append(f"{update} @reverse {{ ip saddr . udp sport : {inside} }}")
        if nat.mapping is Mapping.ENDPOINT_INDEPENDENT:
            rules.append(f"{update} @mapped {{ {inside} : ip saddr . udp sport }}")
        elif nat.mapping is Mapping.ADDRESS_DEPENDENT:
            key = f"{inside} . ip daddr"
            rules.append(f"{update} @mapped {{ {key} : ip saddr . udp sport }}")
    return "\n    ".join(rules)


def _refresh(nat: Behaviour, sides: Sides) -> str:
    """Return what every incoming packet of a known flow keeps alive."""
    rules = []
    for direction, other in (("reply", "original"), ("original", "reply")):
        flow = (
            f'iifname "{sides.wan}" meta l4proto udp ct state established '
            f"ct direction {direction} update"
        )
        inside = f"ct {other} ip saddr . ct {other} proto-src"
        outside = f"ct {direction} ip daddr . ct {direction} proto-dst"
        rules.append(f"{flow} @reverse {{ {outside} : {inside} }}")
        if nat.mapping is Mapping.ENDPOINT_INDEPENDENT:
            rules.append(f"{flow} @mapped {{ {inside} : {outside} }}")
    return "\n    ".join(rules)


_PORT_MAPPING = """
table inet portmap {
  chain mapped_in {
  }
  chain mapped_out {
  }
  chain prerouting {
    type nat hook prerouting priority dstnat - 5; policy accept;
    jump mapped_in
  }
  chain postrouting {
    type nat hook postrouting priority srcnat - 5; policy accept;
    jump mapped_out
  }
}
"""
