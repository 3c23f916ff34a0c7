"""What is between classes is what the file says of nodes."""

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.policy.compile import (
    ANY_CLASS,
    ClassRule,
    ClassTable,
    Policy,
    make_class,
)
from coordinator.policy.document import parse_policy
from coordinator.policy.names import resolve_groups
from coordinator.policy.selectors import Party, Subject
from meshwg.policy.ports import TCP, parse_ports
from tests.coordinator.policy.policies import ALICE, BOB, INVENTORY, NODES, load


def test_a_class_is_the_set_of_selectors_that_a_node_matches() -> None:
    policy = load()

    assert policy.class_of(NODES["laptop-alice"]).labels == ("group:sre", "role:member")
    assert policy.class_of(NODES["db-1"]).labels == ("tag:db",)
    assert policy.class_of(NODES["router"]).labels == ("printer",)
    assert policy.class_of(NODES["guest"]).labels == ()


def test_the_nodes_of_one_user_are_a_class_where_his_own_nodes_matter() -> None:
    policy = load()
    alice, bob = NODES["laptop-alice"], NODES["laptop-bob"]

    assert policy.class_of(alice) == policy.class_of(NODES["phone-alice"])
    assert policy.class_of(alice) != policy.class_of(bob)

    without = load('[[allow]]\nfrom = ["role:member"]\nto = ["any"]')
    assert without.class_of(alice) == without.class_of(bob)


def test_numbers_follow_from_the_selectors_alone() -> None:
    assert make_class(["a", "b"]).number == make_class(("a", "b")).number
    assert make_class(["a", "b"]).number != make_class(["a"]).number
    assert make_class(["a"], "b").number != make_class(["b"], "a").number
    assert 0 < make_class([]).number < 1 << 48


def test_whoever_may_reach_the_internet_sees_exits_which_judge_that() -> None:
    policy = load('[[allow]]\nfrom = ["role:member"]\nto = ["internet"]')
    leaving = Subject("ams", tags=("web",), exit=True)
    member, guest = NODES["laptop-alice"], NODES["guest"]
    numbers = [policy.class_of(each).number for each in (leaving, member, guest)]
    known = ClassTable(policy, map(policy.class_of, (leaving, member, guest)))

    assert numbers[0] in known.sees(numbers[1])
    assert numbers[0] not in known.sees(numbers[2])
    for number in numbers[:2]:
        (rule,) = known.rules_of(number)
        assert rule.internet
        assert rule.destinations == ()
    assert known.rules_of(numbers[2]) == ()


def test_a_node_that_joins_an_old_class_changes_no_rule() -> None:
    policy = load()
    before = table(policy)

    after = ClassTable(
        policy,
        [*before.classes.values(), policy.class_of(Subject("db-2", tags=("db",)))],
    )

    assert after.rules == before.rules


def test_a_node_is_told_only_the_rules_in_which_its_class_has_a_part() -> None:
    policy = load()

    lines = {
        name: [
            each.line
            for each in table(policy).rules_of(policy.class_of(NODES[name]).number)
        ]
        for name in ("db-1", "web-1", "router", "guest", "laptop-bob")
    }

    assert lines == {
        "db-1": [12],
        "web-1": [18],
        "router": [12],
        "guest": [],
        "laptop-bob": [12, 18, 18],
    }


def test_own_nodes_see_each_other_and_no_other_users() -> None:
    policy = load()
    numbers = {name: policy.class_of(each).number for name, each in NODES.items()}
    sees = table(policy).sees

    assert numbers["phone-alice"] in sees(numbers["laptop-alice"])
    assert numbers["laptop-bob"] not in sees(numbers["laptop-alice"])


def test_hubs_and_all_others_see_each_other() -> None:
    policy = load()
    hub, guest = (policy.class_of(NODES[name]).number for name in ("hub", "guest"))

    assert table(policy).sees(guest) == {hub}
    assert table(policy).sees(hub) == set(table(policy).classes)


def test_hubs_are_told_the_rules_about_plain_peers_for_whom_they_judge() -> None:
    policy = load('[[allow]]\nfrom = ["role:plain"]\nto = ["tag:db"]\nports = ["any"]')
    phone = Subject("phone", role="plain")
    nodes = (*NODES.values(), phone)
    classes = ClassTable(policy, [policy.class_of(each) for each in nodes])
    hub, guest, own = (
        policy.class_of(each).number for each in (NODES["hub"], NODES["guest"], phone)
    )

    assert [rule.sources for rule in classes.rules_of(hub)] == [(own,)]
    assert classes.rules_of(hub) == classes.rules_of(own)
    assert classes.rules_of(guest) == ()
    assert hub in classes.sees(own)
    # Without plain peers a hub has no part in what others have.
    assert table(policy).rules_of(hub) == ()


def test_routes_are_approved_for_those_who_are_named() -> None:
    policy = load('[[approve]]\nroutes = ["10.0.0.0/16"]\nby = ["tag:router"]')
    inside, outside = ip_network("10.0.5.0/24"), ip_network("10.1.0.0/24")

    assert policy.approves(NODES["router"], inside)
    assert not policy.approves(NODES["router"], outside)
    assert not policy.approves(NODES["db-1"], inside)


def test_tags_are_put_on_nodes_of_their_owners() -> None:
    policy = load()

    assert policy.may_put("db", ALICE)
    assert policy.may_put("db", BOB)
    assert not policy.may_put("db", "carol")
    assert policy.may_put("web", "carol")


WORDS = [
    *("any", ALICE, BOB, "group:sre", "tag:db", "tag:web", "node:guest"),
    *("role:member", "role:hub", "printer", "10.0.5.0/25", "10.0.6.0/24"),
]
PORTS = ["tcp/22", "tcp/20-30", "udp/*", "icmp", "any"]


def rule_texts() -> st.SearchStrategy[str]:
    words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True)
    to = [*WORDS, "self"]
    others = st.lists(st.sampled_from(to), min_size=1, max_size=3, unique=True)
    ports = st.lists(st.sampled_from(PORTS), min_size=1, max_size=2, unique=True)
    return st.builds(
        lambda a, b, c: f"[[allow]]\nfrom = {a}\nto = {b}\nports = {c}\n",
        words,
        others,
        ports,
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(rule_texts(), max_size=4))
def test_between_classes_is_allowed_what_the_file_allows(rules: list[str]) -> None:
    policy = made(rules)
    classes = table(policy)
    parties: list[Party] = [*NODES.values(), *ip_network("10.0.5.0/29").hosts()]

    for source in parties:
        for destination in parties:
            for protocol, port in ((TCP, 22), (17, 53), (1, 0), (47, 0)):
                allowed = policy.allowing(source, destination, protocol, port)
                rules_there = classes.rules
                if isinstance(source, Subject):
                    rules_there = classes.rules_of(policy.class_of(source).number)
                found = any(
                    matches(each, policy, source, destination)
                    and any(parse_ports(p).covers(protocol, port) for p in each.ports)
                    for each in rules_there
                )
                assert found == (allowed is not None)


@settings(deadline=None, max_examples=40)
@given(st.lists(rule_texts(), max_size=4))
def test_views_are_what_every_pair_of_nodes_and_addresses_gives(
    rules: list[str],
) -> None:
    policy = made(rules)
    classes = table(policy)
    for a in NODES.values():
        for b in NODES.values():
            if a is not b:
                seen = policy.class_of(b).number in classes.sees(
                    policy.class_of(a).number
                )
                expected = "hub" in (a.role, b.role) or any(
                    policy.is_source(rule, one)
                    and policy.is_destination(rule, one, two)
                    for rule in policy.document.allows
                    for ones, twos in ((a, b), (b, a))
                    for one in reachable(ones)
                    for two in reachable(twos)
                )
                assert seen == expected


def reachable(node: Subject) -> list[Party]:
    """Return a node, and addresses behind it."""
    return [node, *(each for route in node.routes for each in route)]


def table(policy: Policy) -> ClassTable:
    return ClassTable(policy, map(policy.class_of, NODES.values()))


def made(rules: list[str]) -> Policy:
    text = '[groups]\nsre = ["alice@example.org"]\n[hosts]\nprinter = "10.0.5.2"\n'
    document = parse_policy(text + "".join(rules))
    return Policy(document, resolve_groups(document, INVENTORY))


def matches(rule: ClassRule, policy: Policy, source: Party, destination: Party) -> bool:
    return is_end(rule.sources, rule.source_prefixes, policy, source) and is_end(
        rule.destinations, rule.destination_prefixes, policy, destination
    )


def is_end(
    numbers: tuple[int, ...], prefixes: tuple[str, ...], policy: Policy, party: Party
) -> bool:
    if ANY_CLASS in numbers:
        return True
    if isinstance(party, Subject):
        return policy.class_of(party).number in numbers
    return any(party in ip_network(each) for each in prefixes)
