"""The index of rules finds what a look at each of them would find."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from meshwg.policy.places import ANY_CLASS, BEHIND, NO_CLASS, OUTSIDE
from meshwg.policy.ports import EVERYTHING, ICMP, ICMPV6, TCP, UDP, Ports
from meshwg.policy.rules import AllowRule, RuleTable
from meshwg.wire.control import PolicyRule

PRINTER = ip_address("10.0.5.10").packed


def test_a_rule_is_for_its_direction_and_its_ports() -> None:
    table = RuleTable([AllowRule((1,), (2,), (Ports(TCP, 22, 22),), line=5)])

    assert find(table, 1, 2, TCP, 22) == 5
    assert find(table, 2, 1, TCP, 22) is None
    assert find(table, 1, 2, TCP, 23) is None
    assert find(table, 1, 2, UDP, 22) is None


def test_all_classes_are_all_nodes_and_what_is_behind_them_but_not_the_internet() -> (
    None
):
    table = RuleTable([AllowRule((ANY_CLASS,), (ANY_CLASS,), (EVERYTHING,), line=5)])

    assert find(table, 7, BEHIND, 47, 0) == 5
    assert find(table, NO_CLASS, 7, TCP, 1) == 5
    assert find(table, 7, OUTSIDE, TCP, 1) is None
    assert find(table, OUTSIDE, 7, TCP, 1) is None


def test_the_internet_is_allowed_where_it_is_named() -> None:
    rule = AllowRule((1,), (), (EVERYTHING,), internet=True, line=5)
    everybody = AllowRule((ANY_CLASS,), (), (EVERYTHING,), internet=True, line=6)

    assert find(RuleTable([rule]), 1, OUTSIDE, TCP, 443) == 5
    assert find(RuleTable([rule]), 2, OUTSIDE, TCP, 443) is None
    assert find(RuleTable([everybody]), 2, OUTSIDE, TCP, 443) == 6
    assert find(RuleTable([everybody]), OUTSIDE, OUTSIDE, TCP, 443) is None


def test_icmp_is_that_of_both_versions() -> None:
    table = RuleTable([AllowRule((1,), (2,), (Ports(ICMP),), line=5)])

    assert find(table, 1, 2, ICMPV6, 0) == 5


def test_what_comes_over_the_wire_is_understood_or_denied() -> None:
    sent = PolicyRule(
        sources=(1,),
        destination_prefixes=("10.0.5.0/24",),
        ports=("tcp/22", "quic/443"),
        line=5,
        note="ticket",
    )

    rule = AllowRule.from_wire(sent)

    assert rule.ports == (Ports(TCP, 22, 22),)
    assert rule.note == "ticket"
    table = RuleTable([rule])
    assert table.find((1, b""), (BEHIND, PRINTER), TCP, 22) is rule
    assert table.find((1, b""), (BEHIND, PRINTER), UDP, 443) is None


CLASSES = st.lists(st.sampled_from((ANY_CLASS, 1, 2, 3)), max_size=2).map(tuple)
NETWORKS = st.lists(
    st.sampled_from(
        [ip_network(text) for text in ("10.0.5.0/24", "10.0.5.10", "fd01::/16")]
    ),
    max_size=1,
).map(tuple)
PORTS = st.lists(
    st.sampled_from((EVERYTHING, Ports(TCP, 20, 30), Ports(UDP), Ports(ICMP))),
    max_size=2,
).map(tuple)
RULES = st.lists(
    st.builds(AllowRule, CLASSES, CLASSES, PORTS, NETWORKS, NETWORKS, st.booleans()),
    max_size=6,
)
PLACES = st.sampled_from(
    [
        *((number, ip_address(f"100.64.0.{number}").packed) for number in (1, 2, 3)),
        (BEHIND, PRINTER),
        (BEHIND, ip_address("10.9.9.9").packed),
        (BEHIND, ip_address("fd01::5").packed),
        (OUTSIDE, ip_address("9.9.9.9").packed),
    ]
)


@given(
    RULES, PLACES, PLACES, st.sampled_from([(TCP, 22), (TCP, 40), (UDP, 1), (47, 0)])
)
def test_the_index_agrees_with_a_look_at_every_rule(
    rules: list[AllowRule],
    source: tuple[int, bytes],
    destination: tuple[int, bytes],
    packet: tuple[int, int],
) -> None:
    expected = any(
        is_in(source, rule.sources, rule.source_networks, False)
        and is_in(
            destination, rule.destinations, rule.destination_networks, rule.internet
        )
        and any(each.covers(*packet) for each in rule.ports)
        for rule in rules
    )

    assert (RuleTable(rules).find(source, destination, *packet) is not None) == expected


def is_in(
    place: tuple[int, bytes],
    numbers: tuple[int, ...],
    networks: tuple[object, ...],
    internet: bool,
) -> bool:
    address = str(ip_address(place[1]))
    return (
        place[0] in numbers
        or (ANY_CLASS in numbers and place[0] != OUTSIDE)
        or (internet and place[0] == OUTSIDE)
        or any(ip_address(address) in ip_network(str(each)) for each in networks)
    )


def find(
    table: RuleTable, source: int, destination: int, protocol: int, port: int
) -> int | None:
    """Return the line of the rule between two places."""
    rule = table.find((source, b""), (destination, b""), protocol, port)
    return None if rule is None else rule.line
