"""The addresses, routes and rules of a node's own interface.

The interface vanishes with the TUN descriptor, and its addresses and routes with it;
rules, and exceptions from routes, stay until they are removed. Those of a node that was
killed are found by the number of an interface that is no longer there.
"""

import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

from meshwg import routing
from meshwg.routing import (
    Action,
    Configuration,
    IPInterface,
    IPNetwork,
    Plan,
    Route,
    RoutingRule,
)
from meshwg.runtime import rtnetlink
from meshwg.runtime.rtnetlink import IFF_UP, KernelRoute, Snapshot
from meshwg.runtime.socket_options import set_fwmark

IPV6_SETTINGS = Path("/proc/sys/net/ipv6/conf")
FILTER_SETTINGS = Path("/proc/sys/net/ipv4/conf")
LOOSE_FILTER = "2"
"""rp_filter of the interface: WireGuard itself knows which peer an address is of, and
in strict mode the kernel would miss routes that are not in its main table."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """What the system refuses."""

    what: str
    """Of the interface: an address, a route."""
    reason: str


@dataclass(slots=True)
class Settlement:
    """What came of making the interface as it is to be."""

    restored: list[str] = field(default_factory=list)
    """What somebody else had removed or changed, and is as it was."""
    problems: list[Problem] = field(default_factory=list)
    shadowed: tuple[IPNetwork, ...] = ()
    """Networks with a route of the machine's own, which is used instead."""


class MeshInterface:
    """The node's own interface, as the kernel has it and as it is to be.

    :param mtu: of the interface, in bytes.
    """

    def __init__(self, name: str, mtu: int) -> None:
        self.name = name
        self.index = socket.if_nametoindex(name)
        self.table = routing.table_of(self.index)
        self.fwmark = 0
        """Marks the packets of the underlay, which routes into the mesh do not apply
        to; 0 where the system has no such rules, and they do."""
        self.refusal = ""
        """Why the system has none."""
        self._mtu = mtu
        self._bit = 0
        self._wanted = Configuration()
        self._made: set[object] = set()
        """What is there, or was until somebody else removed it."""
        _set_loose_filter(name)
        self._part()

    @property
    def bit(self) -> int:
        """The bit of marks by which rules leave the underlay out, 0 for none."""
        return self._bit

    @property
    def is_apart(self) -> bool:
        """Whether the underlay never sees routes into the mesh."""
        return self.fwmark != 0

    def want(self, wanted: Configuration) -> None:
        """Note what the interface is to have; :meth:`settle` makes it so."""
        self._wanted = wanted

    @property
    def _answer_mark(self) -> int:
        return routing.answer_mark(self._bit)

    def has_ipv6(self) -> bool:
        """Tell whether the interface can have IPv6 addresses."""
        try:
            setting = (IPV6_SETTINGS / self.name / "disable_ipv6").read_text()
        except OSError:
            return False
        return setting.strip() == "0"

    def settle(self) -> Settlement:
        """Make the interface as it is to be where it is not so yet, or no longer."""
        outcome, now = Settlement(), rtnetlink.take_snapshot()
        self._settle_link(now, outcome)
        self._settle_addresses(now, outcome)
        if self.is_apart:
            self._settle_routes(now, outcome)
        else:
            self._settle_main_table(now, outcome)
        return outcome

    def close(self) -> None:
        """Remove what would stay when the interface has gone."""
        with contextlib.suppress(OSError):
            now = rtnetlink.take_snapshot()
            _remove_table(now, self.table, self.index)
            _remove_marked(now, {self._answer_mark})

    # The underlay, apart from the mesh.

    def _part(self) -> None:
        """Choose a mark, and see whether the system permits it and has rules."""
        try:
            before = rtnetlink.take_snapshot()
            _remove_stale(before, self.table)
            rules = [rule for each in before.rules.values() for rule in each]
            bit = routing.choose_bit(self.name, rules, self.table)
            mark = routing.mark_of(bit)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                set_fwmark(probe, mark)
            for version in self._versions(before):
                rtnetlink.add_rule(self._first_rule(version, before.rules[version]))
        except OSError as error:
            self.refusal = error.strerror or str(error)
            self.close()
            logger.debug("There are no rules for the mesh: %s", error)
        else:
            self._bit, self.fwmark = bit, mark

    def _versions(self, snapshot: Snapshot) -> list[int]:
        """Return the IP versions that have rules, or should have some."""
        return [
            version
            for version, rules in snapshot.rules.items()
            if rules or version == 4 or IPV6_SETTINGS.exists()
        ]

    def _first_rule(self, version: int, rules: Iterable[RoutingRule]) -> RoutingRule:
        priority = routing.priority_before(rules, routing.PRIORITY)
        if priority is None:
            raise OSError(errno.ENOSPC, "no priority is left before those of others")
        return routing.RoutingRule(
            version, priority, self.table, is_forwarded=True, is_ours=True
        )

    # What is to be.

    def _settle_link(self, now: Snapshot, outcome: Settlement) -> None:
        link = next((each for each in now.links if each.number == self.index), None)
        if link is None or (link.flags & IFF_UP and link.mtu == self._mtu):
            return
        what = "the link was down"
        if link.mtu != self._mtu:
            what = f"the MTU was {link.mtu}"
        self._do(
            what,
            "link",
            partial(rtnetlink.set_link, self.index, mtu=self._mtu),
            outcome,
        )

    def _settle_addresses(self, now: Snapshot, outcome: Settlement) -> None:
        wanted = set(self._possible_addresses())
        present = {each.interface for each in now.addresses if each.link == self.index}
        for address in [a for a in present & wanted if not _is_local(now, a)]:
            # Without it, packets to the address are not this machine's; only a new
            # address brings it back.
            present.discard(address)
            with contextlib.suppress(OSError):
                rtnetlink.remove_address(self.index, address)
        made = {each for each in self._made if isinstance(each, IPInterface)}
        for address in sorted(made - wanted, key=str):
            with contextlib.suppress(OSError):
                rtnetlink.remove_address(self.index, address)
            self._made.discard(address)
        for address in sorted(wanted - present, key=str):
            self._do(
                f"the address {address}",
                address,
                partial(rtnetlink.add_address, self.index, address),
                outcome,
            )

    def _possible_addresses(self) -> list[IPInterface]:
        has_ipv6 = self.has_ipv6()
        return [a for a in self._wanted.addresses if a.version == 4 or has_ipv6]

    def _settle_routes(self, now: Snapshot, outcome: Settlement) -> None:
        """Make routes and rules so that the underlay does not see them."""
        priorities = {
            version: priority
            for version, rules in now.rules.items()
            if (priority := routing.priority_before(rules, routing.PRIORITY))
        }
        plan = routing.plan(
            self._possible(),
            self._elsewhere(now, priorities),
            _of_other_meshes(now, self.table),
            _on_links(now, self.index),
            table=self.table,
            bit=self._bit,
            priorities=priorities,
        )
        outcome.shadowed = plan.shadowed
        self._put_routes(now, plan, outcome)
        self._put_rules(now, plan, outcome)
        for version in {each.version for each in self._wanted.addresses}:
            if version not in priorities and now.rules[version]:
                reason = "no priority is left before those of others"
                outcome.problems.append(Problem("the rules", reason))

    def _put_routes(self, now: Snapshot, plan: Plan, outcome: Settlement) -> None:
        present = {
            _as_planned(each): each for each in now.routes if each.table == self.table
        }
        missing = plan.routes.difference(present)
        # Exceptions first: not even for a moment may the mesh take what is not its own.
        for route in sorted(missing, key=lambda each: -each.action):
            self._do(
                f"the route to {route.prefix}",
                route,
                partial(rtnetlink.add_route, self.table, self.index, route),
                outcome,
            )
        kept = {(route.prefix, route.metric) for route in plan.routes}
        for route in sorted(present.keys() - plan.routes, key=lambda each: each.action):
            self._made.discard(route)
            if (route.prefix, route.metric) not in kept:
                with contextlib.suppress(OSError):
                    rtnetlink.remove_route(self.table, self.index, route)

    def _put_rules(self, now: Snapshot, plan: Plan, outcome: Settlement) -> None:
        present = {
            rule
            for rules in now.rules.values()
            for rule in rules
            if rule.is_ours
            if rule.table == self.table or rule.marked == self._answer_mark
        }
        for rule in sorted(plan.rules - present, key=str):
            self._do(
                "a rule",
                rule,
                partial(rtnetlink.add_rule, rule),
                outcome,
            )
        for rule in sorted(present - plan.rules, key=str):
            self._made.discard(rule)
            with contextlib.suppress(OSError):
                rtnetlink.remove_rule(rule)

    def _settle_main_table(self, now: Snapshot, outcome: Settlement) -> None:
        """Make routes where all packets see them, and leave alone what is there."""
        elsewhere = _prefixes_in(now, {routing.MAIN_TABLE}, self.index)
        plan = routing.plan(
            self._possible(), elsewhere, table=self.table, bit=0, priorities={}
        )
        outcome.shadowed = plan.shadowed
        table = routing.MAIN_TABLE
        wanted = {each for each in plan.routes if each.action is Action.UNICAST}
        present = {
            _as_planned(each)
            for each in now.routes
            if (each.table, each.link) == (table, self.index)
            and each.protocol == routing.PROTOCOL
        }
        for route in sorted(wanted - present, key=str):
            self._do(
                f"the route to {route.prefix}",
                route,
                partial(rtnetlink.add_route, table, self.index, route, replace=False),
                outcome,
            )
        for route in present - wanted:
            self._made.discard(route)
            with contextlib.suppress(OSError):
                rtnetlink.remove_route(table, self.index, route)

    def _possible(self) -> Configuration:
        return replace(self._wanted, addresses=tuple(self._possible_addresses()))

    def _elsewhere(
        self, now: Snapshot, priorities: Mapping[int, int]
    ) -> set[IPNetwork]:
        """Return the networks, and the gateways, that are reached without the mesh."""
        tables = {routing.MAIN_TABLE}
        for version, priority in priorities.items():
            tables |= routing.tables_after(now.rules[version], priority)
        return _prefixes_in(now, tables, self.index)

    def _do(
        self, what: str, thing: object, act: Callable[[], None], outcome: Settlement
    ) -> None:
        """Make a thing, and note that it was there before, or cannot be made."""
        try:
            act()
        except OSError as error:
            if error.errno != errno.EEXIST:
                reason = error.strerror or str(error)
                outcome.problems.append(Problem(what, reason))
                return
        if thing in self._made:
            outcome.restored.append(what)
        self._made.add(thing)


def _is_local(now: Snapshot, address: IPInterface) -> bool:
    """Tell whether the local table has an address, as it does by itself."""
    host = ip_network(address.ip)
    return any(
        route.prefix == host and route.table == routing.LOCAL_TABLE
        for route in now.routes
    )


def _as_planned(route: KernelRoute) -> Route:
    """Return what a route in the mesh's table would be in a plan."""
    action = next((a for a in Action if a == route.action), Action.UNICAST)
    # Where no metric is said, IPv6 has one all the same.
    is_last = route.metric == routing.LAST_METRIC
    metric = routing.LAST_METRIC if is_last else 0
    return Route(route.prefix, action, route.source, metric)


def _prefixes_in(now: Snapshot, tables: Collection[int], but: int) -> set[IPNetwork]:
    """Return the networks that some tables have routes to, and the gateways of the
    default routes.

    :param but: number of the interface that does not count.
    """
    found: set[IPNetwork] = set()
    for route in now.routes:
        if route.table not in tables or route.link == but:
            continue
        if route.prefix.prefixlen:
            if not route.prefix.is_link_local and not route.prefix.is_multicast:
                found.add(route.prefix)
        elif route.gateway and not ip_address(route.gateway).is_link_local:
            found.add(ip_network(route.gateway))
    return found


def _on_links(now: Snapshot, but: int) -> set[IPNetwork]:
    """Return the networks that the machine is in itself.

    :param but: number of the interface that does not count.
    """
    return {
        route.prefix
        for route in now.routes
        if route.table == routing.MAIN_TABLE
        and route.link not in (0, but)
        and route.prefix.prefixlen
        and not route.gateway
    }


def _of_other_meshes(now: Snapshot, table: int) -> set[IPNetwork]:
    return {
        route.prefix
        for route in now.routes
        if route.table != table
        and routing.interface_of(route.table) is not None
        and route.action == Action.UNICAST
    }


def remove_leftovers() -> list[str]:
    """Remove the rules and routes of nodes whose interface is gone.

    :returns: what was removed, in words.
    """
    return _remove_stale(rtnetlink.take_snapshot(), 0)


def _remove_stale(now: Snapshot, own: int) -> list[str]:
    """Remove what killed nodes have left; return it in words."""
    tables = {
        rule.table for each in now.rules.values() for rule in each if rule.is_ours
    }
    tables |= {each.table for each in now.routes if each.protocol == routing.PROTOCOL}
    stale = list(routing.stale(tables, (link.number for link in now.links), own))
    for table in stale:
        _remove_table(now, table, 0)
    rules = [rule for each in now.rules.values() for rule in each]
    _remove_marked(now, routing.orphaned(rules, stale))
    return [f"rules and routes of table {table}" for table in stale]


def _remove_table(now: Snapshot, table: int, index: int) -> None:
    """Remove a mesh's rules, and what is in its table."""
    for rules in now.rules.values():
        for rule in rules:
            if rule.is_ours and rule.table == table:
                with contextlib.suppress(OSError):
                    rtnetlink.remove_rule(rule)
    for route in now.routes:
        if route.table == table and route.protocol == routing.PROTOCOL:
            with contextlib.suppress(OSError):
                rtnetlink.remove_route(table, index, _as_planned(route))


def _remove_marked(now: Snapshot, marks: Collection[int]) -> None:
    """Remove the rules for answers that have these marks."""
    for rules in now.rules.values():
        for rule in rules:
            if rule.is_ours and rule.marked in marks:
                with contextlib.suppress(OSError):
                    rtnetlink.remove_rule(rule)


def _set_loose_filter(name: str) -> None:
    with contextlib.suppress(OSError):
        (FILTER_SETTINGS / name / "rp_filter").write_text(LOOSE_FILTER)
