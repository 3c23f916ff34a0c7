"""What the kernel is to have for a node's interface, and what it lacks of that.

Routes into the mesh stand in a table of their own, which rules lead to. The node's own
sockets carry a mark that no rule matches: whatever peers announce, the packets of the
underlay never see it. All other packets look there before they look into the main
table, if they may enter the mesh at all:

* what this machine sends from no address yet, or from one that its peers accept: its
  own in the mesh, and those in the networks that it announces;
* what it forwards, from wherever that came.

So what is sent from another address of this machine, for example as the answer to a
connection that came in over the physical network, goes back there, marked or not; and
since the kernel's reverse path filter asks for the route back from that address, it
finds the physical network, too, in strict mode.

While an exit is used, the table has a default route, too, and below it one that leads
nowhere: when the interface is gone, so is the former, and nothing leaves. The networks
that many have each for itself lead nowhere as well, but for those of the machine's own
links where the local network is to be reached. A network assigned by whoever runs that
link cannot take addresses of the internet out of the tunnel: only private ones count.

The main table's more specific routes keep their meaning: each has a counterpart in the
mesh's table, of the kind *throw*, which ends the search there and goes on with the next
rule. Of two routes to the same network the main table's own is used.
"""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_network,
)

from meshwg import prefixes

IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

PROTOCOL = 77
"""Says of rules and routes who made them (RTPROT); no other program is known to use
it."""
TABLES = 0x4D000000
"""The first of the tables of meshes; the number of the interface is added."""
INTERFACE_MASK = 0x00FFFFFF
PRIORITY = 5100
"""Of the rules: before those of Tailscale (5210 to 5270), and far before the main
table's (32766)."""
MARKS = tuple(1 << bit for bit in range(24, 31))
"""One bit for each interface of a machine; the others of a mark are left to others.

A node sets its own bit and all higher ones, and a rule is for packets without the
rule's own bit. So the underlay of one mesh may run through another mesh, as through any
other network, but only through one of a lower bit: two meshes never run through each
other.
"""
ANSWER = 1 << 31
"""Marks, together with an interface's bit, what is forwarded as the answer to somebody
outside who began to talk, while an exit is used: it goes back there."""
MAIN_TABLE = 254
LOCAL_TABLE = 255
LAST_METRIC = 0xFFFFFFFF
"""Of a route that is there if no other is."""
DEFAULTS = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
LINK_NETWORKS = tuple(
    ip_network(text)
    for text in (
        *("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("fe80::/10", "ff00::/8"),
    )
)
"""What is on a link, or for a group there: no tunnel leads to these."""
MAX_EXCEPTIONS = 4096
"""Throw routes of one interface: a router may have hundreds of thousands of routes."""


class Action(IntEnum):
    """What a route does (RTN, linux/rtnetlink.h); others are not told apart."""

    UNICAST = 1
    UNREACHABLE = 7
    THROW = 9


@dataclass(frozen=True, slots=True)
class Route:
    """One route in the table of a mesh."""

    prefix: IPNetwork
    action: Action = Action.UNICAST
    source: str | None = None
    """The address that packets without one are sent from."""
    metric: int = 0
    """The lowest is used; 0 is what the kernel takes if it is told nothing."""


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """One rule of the policy database, as far as it matters here."""

    version: int
    """4 or 6."""
    priority: int
    table: int
    """0 if the rule does not look into a table."""
    source: IPNetwork | None = None
    unmarked: int = 0
    """Bits that a packet's mark must not have, 0 if the mark does not matter."""
    marked: int = 0
    """Bits that a packet's mark must have."""
    is_local: bool = False
    """Whether it is for what this machine sends itself."""
    is_forwarded: bool = False
    """Whether it is for what this machine does not send itself."""
    finds_source: bool = False
    """Whether a packet without a source gets one by the route that is found, before it
    is compared (IPv6 only: FIB_RULE_FIND_SADDR)."""
    is_ours: bool = False
    """Whether a node made it: its protocol is :data:`PROTOCOL`."""
    is_for_all: bool = False
    """Whether ordinary packets match it: whatever their source, destination, ..."""
    suppresses: int = -1
    """Routes with a prefix of this length, or shorter, do not count."""

    @property
    def catches(self) -> bool:
        """Whether ordinary packets to anywhere go no further than to this rule."""
        return self.is_for_all and bool(self.table) and self.suppresses < 0


@dataclass(frozen=True, slots=True)
class ExitRoutes:
    """How packets to the internet go while an exit is used."""

    is_there: bool
    """Whether they go to it; else they go nowhere."""
    lan: bool = False
    """Whether the machine's own private networks are reached beside it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an interface is to have."""

    addresses: tuple[IPInterface, ...] = ()
    prefixes: tuple[IPNetwork, ...] = ()
    """Networks in the mesh, or behind it."""
    announced: tuple[IPNetwork, ...] = ()
    """Networks that this node announces: peers accept packets from them."""
    unreachable: tuple[IPNetwork, ...] = ()
    """Networks that nobody in the mesh has, and senders are told so."""
    exit: ExitRoutes | None = None
    """``None`` while none is used."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What stands in the kernel when all is as wanted."""

    routes: frozenset[Route]
    rules: frozenset[RoutingRule]
    shadowed: tuple[IPNetwork, ...]
    """Configuration networks that the machine has routes of its own to."""


def table_of(interface: int) -> int:
    """Return the routing table for an interface's index."""
    return TABLES | (interface & INTERFACE_MASK)


def interface_of(table: int) -> int | None:
    """Return the lower bits of the index that a table is for, ``None`` for others'."""
    return table & INTERFACE_MASK if table & ~INTERFACE_MASK == TABLES else None


def mark_of(bit: int) -> int:
    """Return the mark of a node whose rules have this bit."""
    return sum(each for each in MARKS if each >= bit)


def answer_mark(bit: int) -> int:
    """Return the mark of forwarded answers to the outside, of a node with this bit."""
    return ANSWER | bit


def mark_beside(rules: Iterable[RoutingRule]) -> int:
    """Return the mark of packets that no mesh of a machine takes, 0 if it has none.

    :param rules: all there are.
    """
    bits = [rule.unmarked for rule in rules if rule.is_ours and rule.unmarked]
    return mark_of(min(bits)) if bits else 0


def choose_bit(name: str, rules: Iterable[RoutingRule], table: int) -> int:
    """Return the bit for an interface that is new.

    The number at the end of its name decides, if its bit is free: so it stays the same
    when nodes start in another order. Where all are taken, the highest is shared, and
    such meshes do not run through each other.

    :param rules: those there are; rules to ``table`` are left from a killed node.
    """
    taken = {rule.unmarked for rule in rules if rule.is_ours and rule.table != table}
    free = [bit for bit in MARKS if bit not in taken]
    digits = name[len(name.rstrip("0123456789")) :][-4:]
    preferred = MARKS[int(digits or "0") % len(MARKS)]
    return preferred if preferred in free else (*free, MARKS[-1])[0]


def plan(
    wanted: Configuration,
    elsewhere: Collection[IPNetwork],
    others: Collection[IPNetwork] = (),
    links: Collection[IPNetwork] = (),
    *,
    table: int,
    bit: int,
    priorities: Mapping[int, int],
) -> Plan:
    """Return what the kernel is to have.

    :param elsewhere: networks that the machine has routes of its own to.
    :param others: networks in or behind other meshes of this machine; they keep what is
        more specific, and each mesh its own where two have the same.
    :param links: networks that the machine is in itself.
    :param bit: of the marks, for this interface.
    :param priorities: of the rules, by IP version: only for these are there any.
    """
    versions = {each.version for each in wanted.addresses}
    usable = [each for each in wanted.prefixes if each.version in versions]
    rules = (
        rule
        for version, priority in priorities.items()
        if version in versions
        for rule in _rules(version, priority, wanted, table, bit)
    )
    routes = frozenset(_routes(wanted, elsewhere, others))
    taken = frozenset(each.prefix for each in routes)
    return Plan(
        routes=routes.union(_exit_routes(wanted, taken, others, links)),
        rules=frozenset(rules),
        shadowed=tuple(each for each in usable if each in elsewhere),
    )


def _routes(
    wanted: Configuration,
    elsewhere: Collection[IPNetwork],
    others: Collection[IPNetwork],
) -> Iterable[Route]:
    """Yield the routes: into the mesh, away from it, and to nowhere."""
    sources = {each.version: str(each.ip) for each in reversed(wanted.addresses)}
    inside = [
        each
        for each in wanted.prefixes
        if each.version in sources and each not in elsewhere
    ]
    for each in inside:
        yield Route(each, source=sources[each.version])
    wider = _Networks(inside)
    exceptions = [each for each in (*elsewhere, *others) if wider.hold(each)]
    for each in sorted(exceptions, key=_by_length)[:MAX_EXCEPTIONS]:
        yield Route(each, Action.THROW)
    for each in wanted.unreachable:
        if each.version in sources and each not in elsewhere:
            yield Route(each, Action.UNREACHABLE)


def _exit_routes(
    wanted: Configuration,
    taken: Container[IPNetwork],
    others: Collection[IPNetwork],
    links: Collection[IPNetwork],
) -> Iterable[Route]:
    """Yield the routes that there are beside others while an exit is used.

    :param taken: networks that have a route already.
    """
    chosen = wanted.exit
    if chosen is None:
        return
    near = [each for each in links if chosen.lan and _is_private(each)]
    sources = {each.version: str(each.ip) for each in reversed(wanted.addresses)}
    for version, source in sources.items():
        default = DEFAULTS[version]
        yield Route(default, Action.UNREACHABLE, metric=LAST_METRIC)
        if chosen.is_there:
            yield Route(default, source=source)
        apart = (*near, *others, *LINK_NETWORKS)
        actions = dict.fromkeys(prefixes.private(version), Action.UNREACHABLE)
        actions |= dict.fromkeys(apart, Action.THROW)
        for each, action in actions.items():
            if each.version == version and each not in taken:
                yield Route(each, action)


def _is_private(network: IPNetwork) -> bool:
    wider = prefixes.private(network.version)
    return any(prefixes.is_within(network, each) for each in wider)


def _rules(
    version: int, priority: int, wanted: Configuration, table: int, bit: int
) -> Iterable[RoutingRule]:
    """Yield the rules of one family (see the module's description)."""
    own = [each for each in wanted.addresses if each.version == version]
    # What a hub forwards has other members' addresses, and firewalls ask for the route
    # back as if this machine sent it (nft's "fib saddr . iif", for IPv6).
    sources = [each.network if version == 6 else ip_network(each.ip) for each in own]
    sources += [each for each in wanted.announced if each.version == version]
    if version == 4:
        sources.append(ip_network("0.0.0.0/32"))
    for source in sources:
        yield RoutingRule(
            version,
            priority,
            table,
            source,
            unmarked=bit,
            is_local=True,
            finds_source=version == 6,
            is_ours=True,
        )
    if wanted.exit is not None and priority > 1:
        # What has an address of the outside needs none: only the forwarded is marked.
        answers = answer_mark(bit)
        yield RoutingRule(
            version, priority - 1, MAIN_TABLE, marked=answers, is_ours=True
        )
    yield RoutingRule(version, priority, table, is_forwarded=True, is_ours=True)


def priority_before(rules: Iterable[RoutingRule], current: int) -> int | None:
    """Return the priority for this node's rules in one family, ``None`` if none is
    left.

    Others must not catch ordinary packets before them, as the rules of ``wg-quick`` do,
    which the kernel puts before all others that exist.

    :param current: what they have, or would have.
    """
    others = [rule for rule in rules if not rule.is_ours and rule.priority > 0]
    before = [rule for rule in others if rule.priority <= current and rule.is_for_all]
    if not any(rule.catches for rule in before):
        return current
    lowest = min(rule.priority for rule in before)
    return lowest - 1 if lowest > 1 else None


def tables_after(rules: Iterable[RoutingRule], priority: int) -> frozenset[int]:
    """Return the tables where a packet that finds no way into the mesh looks next."""
    others = (rule for rule in rules if rule.is_for_all and not rule.is_ours)
    return frozenset(each.table for each in others if each.priority >= priority) | {
        MAIN_TABLE
    }


def stale(tables: Iterable[int], interfaces: Iterable[int], own: int) -> set[int]:
    """Return tables of nodes that were killed: their interfaces are no longer there.

    :param tables: with rules or routes of a node's making.
    :param own: the table of an interface that is new, and so has nothing there yet.
    """
    alive = {each & INTERFACE_MASK for each in interfaces}
    return {
        table
        for table in tables
        if (number := interface_of(table)) is not None
        and (table == own or number not in alive)
    }


def orphaned(rules: Iterable[RoutingRule], tables: Collection[int]) -> set[int]:
    """Return the marks of answers whose nodes were killed.

    :param tables: those of killed nodes.
    """
    ours = [rule for rule in rules if rule.is_ours]
    alive = {answer_mark(each.unmarked) for each in ours if each.table not in tables}
    return {each.marked for each in ours if each.marked and each.marked not in alive}


def _by_length(network: IPNetwork) -> tuple[int, int, int]:
    return network.prefixlen, network.version, int(network.network_address)


class _Networks:
    """Asks of many networks whether they are inside of one of a few."""

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        self._known: dict[tuple[int, int], set[int]] = {}
        for each in networks:
            shift = each.max_prefixlen - each.prefixlen
            known = self._known.setdefault((each.version, each.prefixlen), set())
            known.add(int(each.network_address) >> shift)

    def hold(self, network: IPNetwork) -> bool:
        """Tell whether a network is a part of a greater one here."""
        number = int(network.network_address)
        return any(
            number >> (network.max_prefixlen - length) in known
            for (version, length), known in self._known.items()
            if version == network.version and length < network.prefixlen
        )
