"""A guard says what passes in words that this machine's administrator knows."""

import tomllib
from ipaddress import ip_address

import pytest

from meshwg.errors import ConfigError
from meshwg.policy.guard import parse_guard, resolve_guard
from meshwg.policy.ports import TCP
from meshwg.policy.rules import RuleTable

FILE = """
[[allow]]
from = ["node:laptop", "10.0.5.0/24"]
to = ["self"]
ports = ["tcp/22"]

[[allow]]
from = ["self"]
to = ["any"]
"""
ADDRESSES = {"laptop": ("100.64.0.2",), "self": ("100.64.0.1", "fd00::1")}


def test_names_networks_and_itself_are_resolved_to_addresses() -> None:
    rules = parse_guard(tomllib.loads(FILE), "guard.toml")

    table = RuleTable(resolve_guard(rules, lambda name: ADDRESSES.get(name, ())))

    assert rules[0].names == ("laptop",)
    assert find(table, "100.64.0.2", "100.64.0.1", 22) == 1
    assert find(table, "10.0.5.9", "100.64.0.1", 22) == 1
    assert find(table, "100.64.0.2", "100.64.0.1", 23) is None
    assert find(table, "100.64.0.1", "9.9.9.9", 443) == 2
    assert find(table, "100.64.0.3", "100.64.0.1", 22) is None


def test_a_name_of_nobody_lets_nobody_in() -> None:
    rules = parse_guard(tomllib.loads(FILE), "guard.toml")

    table = RuleTable(resolve_guard(rules, lambda _: ()))

    assert find(table, "100.64.0.2", "100.64.0.1", 22) is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("deny = []", "has no 'deny'"),
        ("allow = 1", "has no rules"),
        ("[[allow]]\nform = []", "Rule 1 of the guard guard.toml has no 'form'"),
        ('[[allow]]\nfrom = ["any"]', "wants a list in 'to'"),
        ('[[allow]]\nfrom = "any"\nto = ["any"]', "wants a list in 'from'"),
        ('[[allow]]\nfrom = []\nto = ["any"]', "wants a list in 'from'"),
        ('[[allow]]\nfrom = ["tag:db"]\nto = ["any"]', "means nobody by 'tag:db'"),
        ('[[allow]]\nfrom = ["node:"]\nto = ["any"]', "means nobody by 'node:'"),
        ('[[allow]]\nfrom=["any"]\nto=["any"]\nports = ["tcp/0"]', "no such ports"),
        (
            '[[allow]]\nfrom=["any"]\nto=["any"]\nports = "icmp"',
            "wants a list of ports",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_its_rule(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_guard(tomllib.loads(text), "guard.toml")

    assert error in str(refusal.value)


def find(table: RuleTable, source: str, destination: str, port: int) -> int | None:
    ends = [(-9, ip_address(each).packed) for each in (source, destination)]
    rule = table.find(ends[0], ends[1], TCP, port)
    return None if rule is None else rule.line
