"""The members as of one version, found by key, name and number."""

from dataclasses import replace

import pytest

from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.policies import ActivePolicy, make_version
from coordinator.mesh.registry import Registry
from tests.coordinator.mesh.drafting import Mesh

WEB = Node("a", "web", "web", 1)
MAIL = Node("b", "mail", "mail", 2)


def test_members_are_found_by_key_name_and_number() -> None:
    registry = filled()
    assert registry.nodes == {"a": WEB, "b": MAIL}
    assert registry.names == {"web": "a", "mail": "b"}
    assert registry.numbers == {1: "a", 2: "b"}
    assert (len(registry), registry.version) == (2, 5)


def test_a_removed_node_frees_its_name_and_number() -> None:
    registry = filled()
    registry.apply(Changes(6, removed=("a",)))
    assert registry.nodes == {"b": MAIL}
    assert registry.names == {"mail": "b"}
    assert registry.numbers == {2: "b"}
    assert registry.version == 6


def test_the_removal_of_an_unknown_node_changes_only_the_version() -> None:
    registry = filled()
    registry.apply(Changes(6, removed=("x",)))
    assert (len(registry), registry.version) == (2, 6)


def test_two_nodes_may_change_names_in_one_transaction() -> None:
    registry = filled()
    registry.apply(Changes(6, (replace(WEB, name="mail"), replace(MAIL, name="web"))))
    assert registry.names == {"mail": "a", "web": "b"}


def test_a_name_may_go_to_a_newcomer_in_the_transaction_that_frees_it() -> None:
    registry = filled()
    registry.apply(Changes(6, (Node("c", "web", "web", 1),), removed=("a",)))
    assert registry.names == {"mail": "b", "web": "c"}
    assert registry.numbers == {2: "b", 1: "c"}


def test_an_expired_node_and_others_do_not_see_each_other() -> None:
    registry = filled()
    expired = replace(MAIL, expired=True)

    assert registry.may_see(WEB, MAIL)
    assert not registry.may_see(WEB, WEB)
    assert not registry.may_see(WEB, expired)
    assert not registry.may_see(expired, WEB)


def test_under_a_policy_those_see_each_other_who_may_reach_each_other() -> None:
    registry = filled()
    text = '[[allow]]\nfrom = ["node:web"]\nto = ["node:mail"]\n'
    active = ActivePolicy(make_version(1, text, "me", 0.0))
    web, mail, other = (
        replace(each, policy_class=active.policy.class_of(each.subject).number)
        for each in (WEB, MAIL, Node("c", "other", "other", 3))
    )

    registry.apply(Changes(6, (web, mail, other), policy=active))

    assert registry.may_see(web, mail)
    assert registry.may_see(mail, web)
    assert not registry.may_see(web, other)


def filled() -> Registry:
    registry = Registry(Networks.parse("100.64.0.0/16", "fd00::/48"), "epoch")
    registry.apply(Changes(5, (WEB, MAIL)))
    return registry


@pytest.mark.parametrize("text", ["", "x", "192.0.2.1", "100.64.255.255", "fd00::ffff"])
def test_an_address_that_no_member_has_is_nobodys(text: str) -> None:
    mesh = Mesh()
    mesh.join("k", "web")
    assert not mesh.registry.has_address(text)


def test_an_address_of_a_member_is_known_however_it_is_written() -> None:
    mesh = Mesh()
    number = mesh.join("k", "web").number
    v4, v6 = mesh.registry.networks.addresses(number)
    for text in (v4, v6, f"::ffff:{v4}", f"{v6}%mesh0"):
        assert mesh.registry.has_address(text)
