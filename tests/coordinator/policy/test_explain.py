"""An explanation names the rules that allow, or what is missing."""

from ipaddress import ip_address

from coordinator.policy.explain import explain, rule_label
from meshwg.policy.ports import TCP
from tests.coordinator.policy.policies import NODES, load


def test_what_is_allowed_is_explained_by_its_rule() -> None:
    found = explain(load(), NODES["laptop-bob"], NODES["db-1"], TCP, 5432)

    assert found.allowed
    assert [rule_label(each) for each in found.rules] == [
        "group:sre -> tag:db, printer  tcp/5432, icmp"
    ]


def test_a_denial_names_the_nearest_rules_and_what_they_lack() -> None:
    found = explain(load(), NODES["laptop-alice"], NODES["db-1"], TCP, 22)

    assert not found.allowed
    assert [
        (rule.line, why) for rule, why in zip(found.rules, found.missing, strict=True)
    ] == [
        (12, "it is not for tcp/22"),
        (18, "it is not for this destination"),
    ]


def test_rules_that_have_nothing_in_common_are_not_near() -> None:
    found = explain(load(), NODES["guest"], NODES["laptop-bob"], TCP, 80)

    assert found.rules == ()


def test_addresses_behind_nodes_are_explained_as_well() -> None:
    printer = ip_address("10.0.5.10")

    assert explain(load(), NODES["laptop-bob"], printer, TCP, 5432).allowed
    assert not explain(load(), printer, NODES["laptop-bob"], TCP, 5432).allowed
