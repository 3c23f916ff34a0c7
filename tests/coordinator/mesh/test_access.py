"""Policies, users and tags are changed by rules, and a refusal changes nothing."""

import pytest

from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import (
    Accepted,
    AddUser,
    ApplyPolicy,
    Assign,
    CreateAuthKey,
    DisableUser,
    Refused,
    Result,
)
from meshwg.wire.control import ErrorCode
from tests.coordinator.mesh.drafting import Mesh, join

RULE = '[[allow]]\nfrom = ["alice"]\nto = ["tag:db"]\n'
OWNERS = '[tag-owners]\ndb = ["alice"]\n'


def test_a_policy_is_numbered_and_gives_nodes_their_classes() -> None:
    mesh = made()

    first, second = apply(mesh, OWNERS + RULE), apply(mesh, OWNERS + RULE + "# more\n")

    assert [each.policy.version for each in (first, second) if each.policy] == [1, 2]
    assert mesh.registry.policy is not None
    assert mesh.registry.policy.record.author == "me"
    node = mesh.registry.nodes["a"]
    assert (
        node.policy_class == mesh.registry.policy.policy.class_of(node.subject).number
    )
    assert mesh.registry.reclassed == mesh.registry.version - 1


def test_the_same_text_again_is_no_new_version() -> None:
    mesh = made()
    apply(mesh, OWNERS + RULE)
    before = mesh.registry.version

    assert apply(mesh, OWNERS + RULE).policy is not None
    assert mesh.registry.version == before


def test_a_policy_that_is_wrong_changes_nothing() -> None:
    mesh = made()
    apply(mesh, OWNERS + RULE)
    before = mesh.registry.policy

    (result,) = mesh.do(ApplyPolicy(RULE, "me"))

    assert isinstance(result, Refused)
    assert "no node and no token has the tag 'db'" in result.message
    assert mesh.registry.policy is before


def test_a_tag_of_a_token_or_a_node_may_be_named() -> None:
    mesh = made()
    create(mesh, "", ("db",))

    assert apply(mesh, RULE)


def test_a_node_that_joins_is_what_its_token_says() -> None:
    mesh = made()
    apply(mesh, OWNERS + RULE)
    text = create(mesh, "alice", ("db",))

    node = mesh.node(join("b", name="b", auth_key=text))

    assert (node.owner, node.tags) == ("alice", ("db",))
    assert node.policy_class != mesh.registry.nodes["a"].policy_class


def test_a_node_is_somebody_elses_when_an_administrator_says_so() -> None:
    mesh = made()
    apply(mesh, OWNERS + RULE)
    before = mesh.registry.nodes["a"]

    node = mesh.node(Assign("a", "alice", ()))

    assert node.policy_class != before.policy_class
    assert node.version > before.version
    assert mesh.registry.reclassed == mesh.registry.version


@pytest.mark.parametrize(
    ("owner", "tags", "said"),
    [
        ("carol", (), "There is no user carol"),
        ("", ("Data Base",), "'Data Base' is no tag"),
        ("bob", ("db",), "The tag db is not bob's to give"),
    ],
)
def test_tokens_and_nodes_have_known_owners_and_tags_of_theirs(
    owner: str, tags: tuple[str, ...], said: str
) -> None:
    mesh = made()
    apply(mesh, OWNERS + RULE)

    for operation in (token(mesh, owner, tags), Assign("a", owner, tags)):
        (result,) = mesh.do(operation)
        assert isinstance(result, Refused)
        assert said in result.message


def test_a_user_who_is_disabled_is_nobody_and_his_nodes_have_to_join_again() -> None:
    mesh = made()
    mesh.node(Assign("a", "alice", ()))

    mesh.do(DisableUser("alice"))

    assert mesh.registry.nodes["a"].expired
    (result,) = mesh.do(ApplyPolicy(OWNERS + RULE, "me"))
    assert isinstance(result, Refused)
    mesh.do(AddUser("alice"))
    assert apply(mesh, OWNERS + RULE)


def test_a_policy_outlives_its_users() -> None:
    mesh = made()
    apply(mesh, OWNERS + RULE)
    before = mesh.registry.policy

    mesh.do(DisableUser("alice"))

    assert mesh.registry.policy is before


def test_a_policy_approves_routes_for_those_it_names() -> None:
    mesh = made()
    site = "10.42.0.0/16"
    mesh.node(Assign("a", "", ("router",)))
    again = join("a", name="a", auth_key=None, session="s2", routes=(site,))
    assert not mesh.node(again).routes

    apply(mesh, f'[[approve]]\nroutes = ["{site}"]\nby = ["tag:router"]\n')

    assert mesh.registry.nodes["a"].routes == (site,)


def test_there_are_names_that_no_user_can_have() -> None:
    mesh = made()

    for name in ("", "any", "group:x", "two words", "a/b"):
        (result,) = mesh.do(AddUser(name))
        assert isinstance(result, Refused)
    assert mesh.refusal(DisableUser("nobody")) is ErrorCode.UNKNOWN_PEER
    assert mesh.refusal(Assign("nobody", "", ())) is ErrorCode.UNKNOWN_PEER


def made() -> Mesh:
    """Return a mesh of one node and two users."""
    mesh = Mesh()
    mesh.join("a", "a")
    mesh.do(AddUser("alice"), AddUser("bob"))
    return mesh


def apply(mesh: Mesh, text: str) -> Accepted:
    (result,) = mesh.do(ApplyPolicy(text, "me"))
    return accepted(result)


def accepted(result: Result) -> Accepted:
    assert isinstance(result, Accepted), result
    return result


def token(mesh: Mesh, owner: str, tags: tuple[str, ...]) -> CreateAuthKey:
    _, key = new_auth_key(
        mesh.random,
        reusable=False,
        ephemeral=False,
        created=0.0,
        lifetime=1e6,
        owner=owner,
        tags=tags,
    )
    return CreateAuthKey(key)


def create(mesh: Mesh, owner: str, tags: tuple[str, ...]) -> str:
    """Return a new auth key in clear."""
    text, key = new_auth_key(
        mesh.random,
        reusable=False,
        ephemeral=False,
        created=0.0,
        lifetime=1e6,
        owner=owner,
        tags=tags,
    )
    accepted(mesh.do(CreateAuthKey(key))[0])
    return str(text)
