"""Who may do what."""

import pytest

from coordinator.administration.rights import (
    ROLES,
    Actor,
    Role,
    Scope,
    in_role,
    known_scopes,
    ordered,
    parse_scopes,
    token_actor,
)
from coordinator.mesh.apitokens import ApiToken
from meshwg.errors import ConfigError


def token(role: str = "", *scopes: str, name: str = "backup") -> ApiToken:
    return ApiToken("0123456789ab", name, "digest", role, scopes, 0.0, 1.0, "carol")


def test_an_admin_may_do_everything_and_a_member_nothing() -> None:
    assert all(in_role("a", Role.ADMIN).may(scope) for scope in Scope)
    assert not any(in_role("a", Role.MEMBER).may(scope) for scope in Scope)


def test_an_auditor_changes_nothing() -> None:
    auditor = in_role("a", Role.AUDITOR)
    assert auditor.may(Scope.AUDIT_READ)
    assert not any(scope.endswith(":write") for scope in auditor.scopes)


def test_an_operator_neither_writes_policies_nor_lets_others_administer() -> None:
    operator = in_role("a", Role.OPERATOR)
    assert operator.may(Scope.NODES_WRITE)
    for scope in (Scope.POLICY_WRITE, Scope.USERS_WRITE, Scope.API_TOKENS_WRITE):
        assert not operator.may(scope)


def test_each_role_may_do_what_the_one_below_may() -> None:
    for more, less in (
        (Role.ADMIN, Role.OPERATOR),
        (Role.OPERATOR, Role.AUDITOR),
        (Role.AUDITOR, Role.MEMBER),
    ):
        assert set(ROLES[more]) > set(ROLES[less])


def test_a_token_may_do_what_its_role_and_its_scopes_allow() -> None:
    actor = token_actor(token("auditor", "nodes:write"), "192.0.2.1")
    assert (actor.role, actor.address) == (Role.AUDITOR, "192.0.2.1")
    assert actor.may(Scope.NODES_WRITE)
    assert actor.may(Scope.AUDIT_READ)
    assert not actor.may(Scope.POLICY_WRITE)
    assert actor.identity == "API token 0123456789ab (backup)"


def test_a_token_without_a_role_may_do_what_its_scopes_say_and_no_more() -> None:
    actor = token_actor(token("", "nodes:read", name=""), "")
    assert actor == Actor("API token 0123456789ab", None, (Scope.NODES_READ,))


def test_roles_and_scopes_that_are_not_known_give_nothing() -> None:
    assert token_actor(token("emperor", "everything:write"), "").scopes == ()


def test_scopes_are_in_one_order_and_once_each() -> None:
    mixed = (Scope.EVENTS_READ, Scope.NODES_READ, Scope.EVENTS_READ)
    assert ordered(mixed) == (Scope.NODES_READ, Scope.EVENTS_READ)
    assert known_scopes(["x", "nodes:read"]) == (Scope.NODES_READ,)


def test_a_scope_that_there_is_not_is_named() -> None:
    assert parse_scopes(["policy:write"]) == (Scope.POLICY_WRITE,)
    with pytest.raises(ConfigError, match="'policy:all' is no scope"):
        parse_scopes(["nodes:read", "policy:all"])
