"""What a node's own nftables table says of packets that it forwards.

A hub forwards from member to member, a router between members and the networks behind
it, and nothing else goes between the mesh and the machine's other networks. TCP is kept
from sending segments that the next tunnel cannot carry. What comes from the mesh and
goes to a network behind the node has the node's own address there, unless the network
knows the way back; and a network that others have, too, is known to the mesh by other
addresses, one for one.

Nodes judge for themselves where what reaches them through a tunnel may come from; plain
WireGuard does not, where all that a phone sends goes to its hub. So nothing begins to
talk into the mesh by way of this machine that has another source than the mesh has, or
an approved network behind the node.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

NOTES = "notes"
"""A chain that no packet comes to: what its comments say is for other nodes."""
_LINK = "fe80::/10"
"""What the machine itself says on the interface, as on any other."""
_FAMILIES = {4: ("ip", "ipv4", 40), 6: ("ip6", "ipv6", 60)}
"""By IP version: how nftables calls it, twice, and the bytes of its and TCP's headers.
"""


@dataclass(frozen=True, slots=True)
class ForwardedRoute:
    """A network behind a node, to which it forwards."""

    announced: str
    """As the mesh knows it."""
    network: str
    """As it really is; the same, unless it is mapped."""
    masquerade: bool = True
    """Whether what goes there has the node's own address."""

    @property
    def version(self) -> int:
        """The IP version."""
        return ip_network(self.network).version

    @property
    def is_mapped(self) -> bool:
        """Whether the mesh knows it by other addresses."""
        return self.announced != self.network


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What passes through a node."""

    routes: tuple[ForwardedRoute, ...] = ()
    """The networks behind it."""
    members: bool = False
    """Whether members reach each other through it, as through a hub."""
    is_exit: bool = False
    """Whether members reach the internet through it, for which it has a table of its
    own (:mod:`meshwg.runtime.exitside`)."""
    mesh: tuple[str, ...] = ()
    """The networks of the mesh."""

    def __bool__(self) -> bool:
        return bool(self.routes) or self.members or self.is_exit


def forwarding_rules(
    table: str,
    interface: str,
    forwarded: Forwarded,
    *,
    mtu: int,
    kept_apart: Iterable[str],
    notes: Iterable[str] = (),
) -> str:
    """Return commands for nft that replace a node's table, in one transaction.

    :param mtu: of the node's interface, in bytes.
    :param kept_apart: rules, one a line, that keep other interfaces from forwarding.
    :param notes: for other nodes of this machine, to be read in the table.
    """
    name, routes = f'"{interface}"', forwarded.routes
    chains = [
        _chain(
            "forward",
            "type filter hook forward priority filter; policy accept",
            [
                *_clamping(name, mtu),
                *(
                    [f"iifname {name} oifname {name} accept"]
                    if forwarded.members
                    else []
                ),
                *_passing(name, routes, is_exit=forwarded.is_exit),
                *kept_apart,
            ],
        ),
        _chain(
            "output",
            "type filter hook output priority filter; policy accept",
            [
                f"oifname {name} icmp type redirect drop",
                f"oifname {name} icmpv6 type nd-redirect drop",
            ],
        ),
    ]
    if any(route.masquerade or route.is_mapped for route in routes):
        chains += _translation(name, routes)
    noted = "\n".join(f'    return comment "{each}"' for each in notes)
    chains += [f"  chain {NOTES} {{\n{noted}\n  }}"] if noted else []
    sets = _sets(routes)
    if forwarded.mesh:
        sets += _sources(forwarded)
        chains.append(_entering(name))
    body = "\n".join([*sets, *chains])
    return (
        f"table inet {table}\ndelete table inet {table}\n"
        f"table inet {table} {{\n{body}\n}}\n"
    )


def _chain(name: str, hook: str, rules: Iterable[str]) -> str:
    lines = "\n".join(f"    {rule}" for rule in rules)
    return f"  chain {name} {{\n    {hook}\n{lines}\n  }}"


def _sets(routes: Sequence[ForwardedRoute]) -> list[str]:
    sets = []
    for version, (_, kind, _) in _FAMILIES.items():
        ours = [route for route in routes if route.version == version]
        masked = [route for route in ours if route.masquerade]
        for name, some in ((f"routes{version}", ours), (f"masked{version}", masked)):
            networks = ", ".join(dict.fromkeys(route.network for route in some))
            elements = f"; elements = {{ {networks} }}" if networks else ""
            sets.append(
                f"  set {name} {{ type {kind}_addr; flags interval; auto-merge"
                f"{elements}; }}"
            )
    return sets


def _sources(forwarded: Forwarded) -> list[str]:
    """Return the sets of what may have sent something into the mesh."""
    announced = [route.announced for route in forwarded.routes]
    inside = list(map(ip_network, (*forwarded.mesh, *announced, _LINK)))
    sets = []
    for version, (_, kind, _) in _FAMILIES.items():
        networks = ", ".join(str(each) for each in inside if each.version == version)
        elements = f"; elements = {{ {networks} }}" if networks else ""
        sets.append(
            f"  set inside{version} {{ type {kind}_addr; flags interval; auto-merge"
            f"{elements}; }}"
        )
    return sets


def _entering(name: str) -> str:
    """Return the chain of what goes into the mesh, with its address as it is there."""
    return _chain(
        "entering",
        "type filter hook postrouting priority srcnat + 10; policy accept",
        [
            f"oifname != {name} accept",
            "ct state established,related accept",
            "ip saddr != @inside4 counter drop",
            "ip6 saddr != @inside6 counter drop",
        ],
    )


def _clamping(name: str, mtu: int) -> list[str]:
    """Return the rules that keep TCP's segments short enough, in both directions."""
    syn = "tcp flags syn tcp option maxseg size set"
    rules = [f"oifname {name} {syn} rt mtu"]
    # What is answered to a SYN of the mesh comes back by the same tunnel.
    for _, kind, headers in _FAMILIES.values():
        rules.append(f"iifname {name} meta nfproto {kind} {syn} {mtu - headers}")
    return rules


def _passing(
    name: str, routes: Sequence[ForwardedRoute], *, is_exit: bool
) -> list[str]:
    """Return the rules of what goes between the mesh and networks behind the node."""
    if not routes:
        return []
    rules = []
    for version, (family, _, _) in _FAMILIES.items():
        rules.append(f"iifname {name} {family} daddr @routes{version} accept")
        rules.append(f"oifname {name} {family} saddr @routes{version} accept")
    return [
        *rules,
        # Answers to what this machine lets its other networks send into the mesh, and
        # ports of its own that lead elsewhere, to containers for example.
        f"iifname {name} ct state established,related accept",
        f"iifname {name} ct status dnat accept",
        # An exit's data path delivers nothing but what goes to the internet.
        *([] if is_exit else [f"iifname {name} counter drop"]),
    ]


def _translation(name: str, routes: Sequence[ForwardedRoute]) -> list[str]:
    """Return the chains that change addresses."""
    before, after = [], []
    for version, (family, _, _) in _FAMILIES.items():
        mapped = [r for r in routes if r.version == version and r.is_mapped]
        if mapped:
            there = ", ".join(f"{r.announced} : {r.network}" for r in mapped)
            back = ", ".join(f"{r.network} : {r.announced}" for r in mapped)
            before.append(
                f"iifname {name} dnat {family} prefix to {family} daddr map "
                f"{{ {there} }}"
            )
            after.append(
                f"oifname {name} snat {family} prefix to {family} saddr map "
                f"{{ {back} }}"
            )
        after.append(
            f"iifname {name} oifname != {name} {family} daddr @masked{version} "
            "masquerade"
        )
    chains = []
    if before:
        hook = "type nat hook prerouting priority dstnat; policy accept"
        chains.append(_chain("prerouting", hook, before))
    hook = "type nat hook postrouting priority srcnat; policy accept"
    return [*chains, _chain("postrouting", hook, after)]
