"""What the kernel is to have for a mesh: routes, exceptions from them, and rules."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from itertools import pairwise

import pytest

from meshwg.routing import (
    INTERFACE_MASK,
    LAST_METRIC,
    MAIN_TABLE,
    MARKS,
    MAX_EXCEPTIONS,
    PRIORITY,
    TABLES,
    Action,
    Configuration,
    ExitRoutes,
    IPNetwork,
    Plan,
    Route,
    RoutingRule,
    answer_mark,
    choose_bit,
    interface_of,
    mark_beside,
    mark_of,
    orphaned,
    plan,
    priority_before,
    stale,
    table_of,
    tables_after,
)

TABLE = table_of(7)
BIT = MARKS[0]
MESH = ("100.64.0.0/16", "fd00::/48")
WANTED = Configuration(
    (ip_interface("100.64.0.1/16"), ip_interface("fd00::1/48")),
    tuple(ip_network(each) for each in MESH),
)
MAIN = RoutingRule(4, 32766, MAIN_TABLE, is_for_all=True)
WG_QUICK = (
    RoutingRule(4, PRIORITY - 2, MAIN_TABLE, is_for_all=True, suppresses=0),
    RoutingRule(4, PRIORITY - 1, 51820, is_for_all=True),
)
"""As the kernel places them when a node runs already."""


def test_networks_of_the_mesh_are_reached_from_this_nodes_address_in_it() -> None:
    made = planned()
    assert {(str(r.prefix), r.source) for r in made.routes} == {
        ("100.64.0.0/16", "100.64.0.1"),
        ("fd00::/48", "fd00::1"),
    }


def test_without_an_address_of_a_family_there_is_nothing_of_it() -> None:
    made = planned(wanted=replace(WANTED, addresses=WANTED.addresses[:1]))
    assert [str(route.prefix) for route in made.routes] == ["100.64.0.0/16"]
    assert {rule.version for rule in made.rules} == {4}


def test_what_the_machine_reaches_by_itself_is_excepted_from_wider_networks() -> None:
    made = planned("10.0.0.0/8", elsewhere=["10.1.0.0/16", "10.1.2.0/24", "11.0.0.0/8"])
    assert exceptions(made) == ["10.1.0.0/16", "10.1.2.0/24"]
    assert "10.0.0.0/8" in ways(made)
    assert made.shadowed == ()


def test_the_machines_own_route_to_the_same_network_is_used() -> None:
    made = planned("10.0.0.0/8", elsewhere=["10.0.0.0/8"])
    assert "10.0.0.0/8" not in ways(made)
    assert made.shadowed == (ip_network("10.0.0.0/8"),)
    assert exceptions(made) == []


def test_a_wider_route_of_the_machine_yields_to_the_mesh() -> None:
    made = planned("10.1.0.0/16", elsewhere=["10.0.0.0/8"])
    assert "10.1.0.0/16" in ways(made)
    assert exceptions(made) == []


def test_a_peer_is_reached_in_a_network_that_the_machine_is_in_too() -> None:
    made = planned("100.64.3.4/32", elsewhere=["100.64.0.0/16"])
    assert "100.64.3.4/32" in ways(made)
    assert "100.64.0.0/16" not in ways(made)


def test_packets_to_what_nobody_has_are_refused() -> None:
    nobodys = (ip_network("fd00::7/128"), ip_network("100.64.0.7/32"))
    made = planned(wanted=replace(WANTED, unreachable=nobodys))
    refused = [r.prefix for r in made.routes if r.action is Action.UNREACHABLE]
    assert set(refused) == set(nobodys)


def test_two_meshes_keep_what_is_more_specific_and_each_what_both_have() -> None:
    made = planned("10.0.0.0/8", others=["10.0.0.0/8", "10.1.0.0/16"])
    assert "10.0.0.0/8" in ways(made)
    assert exceptions(made) == ["10.1.0.0/16"]
    assert made.shadowed == ()


def test_exceptions_are_bounded_and_wide_ones_come_first() -> None:
    many = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(MAX_EXCEPTIONS + 9)]
    made = planned("10.0.0.0/8", elsewhere=[*many, "10.128.0.0/9"])
    assert len(exceptions(made)) == MAX_EXCEPTIONS
    assert "10.128.0.0/9" in exceptions(made)


def test_only_what_the_mesh_accepts_is_led_into_it() -> None:
    made = planned(
        wanted=replace(WANTED, announced=(ip_network("192.168.7.0/24"),)),
    )
    sources = {
        str(rule.source)
        for rule in made.rules
        if rule.version == 4 and not rule.is_forwarded
    }
    assert sources == {"0.0.0.0/32", "100.64.0.1/32", "192.168.7.0/24"}
    for rule in made.rules:
        assert (rule.table, rule.priority, rule.is_ours) == (TABLE, PRIORITY, True)
        assert rule.is_forwarded or (rule.is_local and rule.unmarked == BIT)


def test_an_ipv6_packet_without_a_source_gets_one_first() -> None:
    (rule,) = [r for r in planned().rules if r.version == 6 and r.is_local]
    assert str(rule.source) == "fd00::/48"
    assert rule.finds_source


def test_where_there_are_no_rules_there_are_none() -> None:
    made = plan(WANTED, [], table=TABLE, bit=0, priorities={})
    assert made.rules == frozenset()
    assert len(made.routes) == 2


# Marks


def test_the_underlay_of_a_mesh_runs_through_those_of_lower_bits_at_most() -> None:
    for lower, higher in pairwise(MARKS):
        assert mark_of(lower) & higher
        assert not mark_of(higher) & lower
    assert mark_of(MARKS[0]) < 1 << 31, "SO_MARK takes a signed number"


def test_one_mark_keeps_packets_out_of_all_meshes_of_a_machine() -> None:
    own = [
        RoutingRule(4, 5100, table_of(n), unmarked=bit, is_ours=True)
        for n, bit in enumerate((MARKS[4], MARKS[2]))
    ]
    forwarding = RoutingRule(4, 5100, table_of(1), is_forwarded=True, is_ours=True)
    other = RoutingRule(4, 5100, 52, unmarked=1)
    mark = mark_beside([*own, forwarding, other])
    assert mark & MARKS[4]
    assert mark & MARKS[2]
    assert mark_beside([forwarding, other]) == 0


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("meshwg0", [], 0),
        ("meshwg2", [], 2),
        ("meshwg2", [2], 0),
        ("work", [], 0),
        ("work", [0, 1], 2),
        ("mesh7777", [], 7777 % len(MARKS)),
        ("mesh99999999999", [], 9999 % len(MARKS)),
        ("last", [0, 1, 2, 3, 4, 5, 6], 6),
    ],
)
def test_each_interface_has_a_bit_of_its_own_while_there_are_enough(
    name: str, taken: list[int], expected: int
) -> None:
    rules = [ours(table_of(100 + n), unmarked=MARKS[n]) for n in taken]
    assert choose_bit(name, rules, TABLE) == MARKS[expected]


def test_rules_of_others_and_of_a_killed_node_take_no_bit() -> None:
    rules = [
        ours(TABLE, unmarked=MARKS[0]),
        replace(ours(table_of(8), unmarked=MARKS[0]), is_ours=False),
    ]
    assert choose_bit("meshwg0", rules, TABLE) == MARKS[0]


# Tables


def test_a_table_names_its_interface() -> None:
    assert interface_of(table_of(7)) == 7
    assert interface_of(table_of(0x01000007)) == 7
    assert interface_of(MAIN_TABLE) is None
    assert interface_of(TABLES + INTERFACE_MASK + 1) is None


def test_what_belongs_to_no_interface_is_stale() -> None:
    tables = [table_of(n) for n in (7, 8, 0x01000009)] + [MAIN_TABLE]
    assert stale(tables, [8, 0x01000009], own=table_of(3)) == {table_of(7)}
    assert stale(tables, [8, 7, 0x01000009], own=table_of(7)) == {table_of(7)}


# Priorities


def test_the_rules_stand_where_they_always_do() -> None:
    assert priority_before([MAIN], PRIORITY) == PRIORITY


def test_they_move_before_those_that_would_take_everything() -> None:
    assert priority_before([*WG_QUICK, MAIN], PRIORITY) == PRIORITY - 3
    assert priority_before([WG_QUICK[1], MAIN], PRIORITY) == PRIORITY - 2


def test_rules_for_some_packets_and_those_after_them_do_not_matter() -> None:
    some = RoutingRule(4, 100, 200, source=ip_network("192.0.2.1/32"))
    after = replace(WG_QUICK[1], priority=32765)
    no_default = WG_QUICK[0]
    rules = [some, after, no_default, ours(TABLE, priority=5), MAIN]
    assert priority_before(rules, PRIORITY) == PRIORITY


def test_where_no_place_is_left_there_is_none() -> None:
    assert priority_before([RoutingRule(4, 1, 200, is_for_all=True)], PRIORITY) is None


def test_what_finds_no_way_into_the_mesh_looks_where_it_would_without_it() -> None:
    after = [
        replace(WG_QUICK[1], priority=PRIORITY + 9),
        RoutingRule(4, PRIORITY + 99, 52, is_for_all=True),
        RoutingRule(4, PRIORITY + 99, 53),
        ours(TABLE),
        MAIN,
    ]
    assert tables_after(after, PRIORITY) == {51820, 52, MAIN_TABLE}
    assert tables_after([], PRIORITY) == {MAIN_TABLE}


def test_an_exit_takes_all_and_what_it_cannot_take_goes_nowhere() -> None:
    made = planned(wanted=replace(WANTED, exit=ExitRoutes(is_there=True)))
    for default, source in (("0.0.0.0/0", "100.64.0.1"), ("::/0", "fd00::1")):
        last = Route(ip_network(default), Action.UNREACHABLE, metric=LAST_METRIC)
        assert last in made.routes
        assert Route(ip_network(default), source=source) in made.routes
    assert {"10.0.0.0/8", "192.168.0.0/16", "fc00::/7"} <= unreachable(made)
    assert "fe80::/10" in exceptions(made)


def test_while_the_exit_is_away_all_goes_nowhere() -> None:
    made = planned(wanted=replace(WANTED, exit=ExitRoutes(is_there=False)))
    assert ways(made) == {*MESH}
    assert {"0.0.0.0/0", "::/0"} <= unreachable(made)


@pytest.mark.parametrize("lan", [True, False])
def test_private_networks_of_the_machines_links_are_left_out_where_that_is_wanted(
    lan: bool,
) -> None:
    wanted = replace(WANTED, exit=ExitRoutes(is_there=True, lan=lan))
    links = ["192.168.1.0/24", "203.0.113.0/24", "0.0.0.0/1", "fd99::/64"]
    made = planned(wanted=wanted, elsewhere=[*links, "10.9.0.0/16"], links=links)

    thrown = {"192.168.1.0/24", "fd99::/64"}
    assert thrown & {*exceptions(made)} == (thrown if lan else set())
    # Whoever runs the link cannot lead the internet's addresses past the exit.
    assert not {"203.0.113.0/24", "0.0.0.0/1", "10.9.0.0/16"} & {*exceptions(made)}


def test_other_meshes_and_networks_behind_peers_are_reached_beside_an_exit() -> None:
    wanted = replace(WANTED, exit=ExitRoutes(is_there=True))
    made = planned("10.0.0.0/8", wanted=wanted, others=["10.200.0.0/16", "fd01::/48"])
    assert "10.0.0.0/8" in ways(made)
    assert "10.0.0.0/8" not in unreachable(made)
    assert {"10.200.0.0/16", "fd01::/48"} <= {*exceptions(made)}


def test_answers_that_are_forwarded_to_the_outside_are_told_by_their_mark() -> None:
    made = planned(wanted=replace(WANTED, exit=ExitRoutes(is_there=True)))
    answers = [
        RoutingRule(version, PRIORITY - 1, MAIN_TABLE, marked=mark, is_ours=True)
        for version in (4, 6)
        for mark in (answer_mark(BIT),)
    ]
    assert {*answers} <= made.rules
    # The underlay is led nowhere by them.
    assert mark_of(BIT) & answer_mark(BIT) != answer_mark(BIT)
    assert not any(rule.marked for rule in planned().rules)


def test_marks_of_answers_are_orphaned_with_the_node_that_used_them() -> None:
    rules = [
        ours(TABLE, unmarked=MARKS[0]),
        replace(ours(MAIN_TABLE), marked=answer_mark(MARKS[0])),
        ours(table_of(8), unmarked=MARKS[1]),
        replace(ours(MAIN_TABLE), marked=answer_mark(MARKS[1])),
    ]
    assert orphaned(rules, {TABLE}) == {answer_mark(MARKS[0])}
    assert orphaned(rules, ()) == set()


def planned(
    *more: str,
    wanted: Configuration = WANTED,
    elsewhere: Iterable[str] = (),
    others: Iterable[str] = (),
    links: Iterable[str] = (),
) -> Plan:
    """Return the plan for the mesh and more networks behind peers."""
    return plan(
        replace(wanted, prefixes=(*wanted.prefixes, *networks(more))),
        set(networks(elsewhere)),
        set(networks(others)),
        set(networks(links)),
        table=TABLE,
        bit=BIT,
        priorities={4: PRIORITY, 6: PRIORITY},
    )


def networks(texts: Iterable[str]) -> list[IPNetwork]:
    return [ip_network(each) for each in texts]


def ways(made: Plan) -> set[str]:
    return {str(r.prefix) for r in made.routes if r.action is Action.UNICAST}


def unreachable(made: Plan) -> set[str]:
    return {str(r.prefix) for r in made.routes if r.action is Action.UNREACHABLE}


def exceptions(made: Plan) -> list[str]:
    found = [r.prefix for r in made.routes if r.action is Action.THROW]
    found.sort(key=lambda each: (each.version, int(each.network_address)))
    return [str(each) for each in found]


def ours(table: int, *, unmarked: int = 0, priority: int = PRIORITY) -> RoutingRule:
    return RoutingRule(
        4, priority, table, unmarked=unmarked, is_local=True, is_ours=True
    )
