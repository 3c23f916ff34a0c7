"""A policy is read whole, or refused in one sentence with the line."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.policy.document import (
    MAX_LISTED,
    MAX_RULES,
    MAX_TEXT,
    PolicyError,
    parse_policy,
)
from meshwg.policy.ports import EVERYTHING, TCP, Ports
from tests.coordinator.policy.policies import EXAMPLE

RULE = '[[allow]]\nfrom = ["any"]\nto = ["any"]\n'


def test_the_example_of_the_manual_is_read() -> None:
    document = parse_policy(EXAMPLE)

    assert [rule.line for rule in document.allows] == [12, 18]
    assert document.allows[0].note == "ticket 4711"
    assert [str(each) for each in document.allows[0].ports] == ["tcp/5432", "icmp"]
    assert [each.text for each in document.allows[0].destinations] == [
        "tag:db",
        "printer",
    ]
    assert document.groups == {"sre": ("alice@example.org", "group:idp-oncall")}
    assert [each.allowed for each in document.expectations] == [
        True,
        True,
        False,
        False,
    ]
    assert document.expectations[2].ports == Ports(TCP, 22, 22)
    assert document.expectations[3].ports == EVERYTHING


def test_ports_that_are_left_out_are_all() -> None:
    assert parse_policy(RULE).allows[0].ports == (EVERYTHING,)


def test_one_text_stands_for_a_list_of_one() -> None:
    document = parse_policy('[[allow]]\nfrom = "any"\nto = "tag:db"\n')

    assert [each.text for each in document.allows[0].destinations] == ["tag:db"]


def test_an_empty_file_allows_nothing() -> None:
    assert parse_policy("").allows == ()


def test_approvals_name_routes_or_exits() -> None:
    text = '[[approve]]\nroutes = ["10.0.0.0/16"]\nby = ["tag:router"]\n'

    (approval,) = parse_policy(text).approvals

    assert [str(each) for each in approval.routes] == ["10.0.0.0/16"]
    assert not approval.exits


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[groups]\nsre = [", "Line 2 of the policy: this is not valid TOML"),
        ("[groups]\na = []\na = []", "Line 3 of the policy: this is not valid TOML"),
        ("verson = 1", "Line 1 of the policy: there is no 'verson'"),
        ("version = 2", "Line 1 of the policy: only version 1 is known"),
        (RULE + "form = []", "Line 4 of the policy: [[allow]] has no 'form'"),
        (RULE + 'ports = ["tcp/0"]', "Line 4 of the policy: 'tcp/0' are no ports"),
        (
            RULE + 'ports = [\n"tcp/22",\n"tcp/70000"]',
            "Line 6 of the policy: 'tcp/70000' are no ports",
        ),
        (RULE + "ports = []", "Line 4 of the policy: 'ports' is empty"),
        (RULE + "note = 5", "Line 4 of the policy: a note is one line"),
        (
            '[[allow]]\nfrom = ["self"]\nto = ["any"]',
            "Line 2 of the policy: 'self' is a destination",
        ),
        (
            '\n[[allow]]\nfrom = ["tag:a", "tag:a"]\nto = ["any"]',
            "Line 3 of the policy: 'tag:a' is there twice",
        ),
        ('[[allow]]\nfrom = ["any"]', "Line 1 of the policy: [[allow]] has no 'to'"),
        ('[[allow]]\nfrom = []\nto = "any"', "Line 2 of the policy: 'from' is empty"),
        ("[[allow]]\nfrom = [1]", "Line 2 of the policy: 'from' is a list of texts"),
        ("[allow]\nfrom = []", "Line 1 of the policy: there may be many"),
        ("groups = 1", "Line 1 of the policy: 'groups' is a table"),
        ('[groups]\n"A b" = []', "Line 2 of the policy: 'A b' is no name"),
        ('[groups]\na = ["b c"]', "Line 2 of the policy: 'b c' is neither a user"),
        ('[hosts]\ndb = "10.0.5"', "Line 2 of the policy: '10.0.5' is no address"),
        ('[hosts]\nany = "10.0.5.1"', "Line 2 of the policy: 'any' has a meaning"),
        ('[hosts]\ndb = "fe80::1%eth0"', "Line 2 of the policy: 'fe80::1%eth0' is no"),
        ('[tag-owners]\ndb = ["tag:x"]', "Line 2 of the policy: 'tag:x' cannot own"),
        ('[[test]]\nfrom = "any"', "Line 1 of the policy: a test expects something"),
        ("[[test]]\nfrom = []", "Line 1 of the policy: a test has one source"),
        (
            '[[test]]\nfrom = "any"\nallow = ["tag:db:tcp/0"]',
            "Line 3 of the policy: 'tcp/0' are no ports",
        ),
        (
            '[[approve]]\nby = ["tag:x"]',
            "Line 1 of the policy: it approves nothing",
        ),
        (
            '[[approve]]\nroutes = ["x"]\nby = ["tag:x"]',
            "Line 2 of the policy: 'x' is no network",
        ),
        (
            '[[approve]]\nexits = "yes"\nby = ["tag:x"]',
            "Line 2 of the policy: 'exits' is true or false",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, error: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        parse_policy(text)

    assert str(refusal.value).startswith(error)
    assert "\n" not in str(refusal.value)


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(PolicyError, match="longer than 1 MiB"):
        parse_policy("# " + 5 * MAX_TEXT * "x")
    with pytest.raises(PolicyError, match=f"more than {MAX_RULES}"):
        parse_policy(RULE * (MAX_RULES + 1))
    many = ", ".join(f'"u{number}"' for number in range(MAX_LISTED + 1))
    with pytest.raises(PolicyError, match=f"more than {MAX_LISTED} texts"):
        parse_policy(f"[groups]\nall = [{many}]")


def test_what_is_nested_deeply_is_refused() -> None:
    with pytest.raises(PolicyError):
        parse_policy("groups = " + "[" * 100_000)


@given(st.text(max_size=200))
def test_any_other_text_is_refused_by_a_policy_error_alone(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_policy(text)


@given(st.lists(st.sampled_from(EXAMPLE.splitlines()), max_size=12))
def test_so_are_the_lines_of_the_example_in_any_order(lines: list[str]) -> None:
    with contextlib.suppress(PolicyError):
        parse_policy("\n".join(lines))
