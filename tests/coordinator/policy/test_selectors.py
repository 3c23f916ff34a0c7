"""Selectors mean those whom they name, and nobody else."""

from ipaddress import ip_address, ip_network

import pytest

from coordinator.policy.selectors import SelectorKind, Subject, parse_selector
from tests.coordinator.policy.policies import ALICE, NODES

HOSTS = {"printer": ip_network("10.0.5.10")}
GROUPS = {"sre": frozenset((ALICE,))}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (ALICE, ["laptop-alice", "phone-alice"]),
        ("group:sre", ["laptop-alice", "phone-alice"]),
        ("tag:db", ["db-1"]),
        ("node:guest", ["guest"]),
        ("role:member", ["laptop-alice", "phone-alice", "laptop-bob"]),
        ("role:hub", ["hub"]),
        ("any", list(NODES)),
        ("printer", []),
    ],
)
def test_a_selector_means_these_nodes(text: str, names: list[str]) -> None:
    selector = parse_selector(text, HOSTS)

    assert [n for n, each in NODES.items() if selector.matches(each, GROUPS)] == names


def test_a_node_with_a_tag_acts_for_nobody() -> None:
    assert NODES["db-1"].owner == ALICE
    assert NODES["db-1"].user == ""


def test_prefixes_mean_addresses_and_who_has_them_behind() -> None:
    printer = parse_selector("printer", HOSTS)

    assert printer.matches(ip_address("10.0.5.10"), {})
    assert not printer.matches(ip_address("10.0.5.11"), {})
    assert printer.reaches_behind(NODES["router"])
    assert not printer.reaches_behind(NODES["db-1"])


def test_words_for_nodes_mean_no_address() -> None:
    assert not parse_selector("tag:db", {}).matches(ip_address("10.0.5.10"), {})
    assert parse_selector("any", {}).matches(ip_address("10.0.5.10"), {})


def test_the_internet_is_behind_exits() -> None:
    internet = parse_selector("internet", {})

    assert internet.kind is SelectorKind.INTERNET
    assert internet.reaches_behind(Subject("ams", exit=True))
    assert not internet.reaches_behind(NODES["router"])


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("group:", "a name is missing after group:"),
        ("role:king", "the roles are role:member, role:hub and role:plain"),
        ("10.0.5.1/24", "it has host bits; write 10.0.5.0/24"),
        ("10.0.5", "it is no network"),
        ("fd00:::1", "it is no network"),
        ("two words", "write a user, group:NAME"),
        ("", "write a user, group:NAME"),
        ("team/x", "it is no network"),
    ],
)
def test_what_means_nobody_is_refused_with_the_mend(text: str, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        parse_selector(text, {})
