"""Who is in the mesh, and the rules by which that changes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.mesh.authkeys import AuthKey, new_auth_key
from coordinator.mesh.ipam import Networks
from coordinator.mesh.operations import (
    Accepted,
    Changes,
    CreateAuthKey,
    Disconnect,
    Expire,
    Join,
    MarkOffline,
    Operation,
    Refused,
    Remove,
    Rename,
    RevokeAuthKey,
    SetUrl,
    Sweep,
    Update,
)
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText
from tests.coordinator.mesh.drafting import Mesh, join

OPERATIONS = st.one_of(
    st.builds(
        lambda key, name, session: join(key, name=name, session=session, auth_key=""),
        st.sampled_from("abcdef"),
        st.sampled_from(["web", "mail", "web-2"]),
        st.sampled_from(["s1", "s2"]),
    ),
    st.builds(Remove, st.sampled_from(["a", "b", "web", "mail"])),
    st.builds(Expire, st.sampled_from(["a", "b", "web-2"])),
    st.builds(
        Rename, st.sampled_from("abcweb"), st.sampled_from(["web", "shop", "web-2"])
    ),
    st.builds(
        Disconnect, st.sampled_from("abcdef"), st.sampled_from(["s1"]), st.booleans()
    ),
    st.builds(Update, st.sampled_from("abcdef"), st.sampled_from("12"), st.just("n")),
    st.just(Sweep()),
    st.just(MarkOffline(frozenset({"home"}))),
)


# Members.


def test_a_report_that_says_nothing_new_changes_no_version() -> None:
    mesh = Mesh()
    mesh.join("a")
    mesh.do(Update("a", "[1]", "null"))
    version = mesh.registry.version
    mesh.do(Update("a", "[1]", "null"))
    assert mesh.registry.version == version
    assert mesh.refusal(Update("stranger", "[]", "null")) is ErrorCode.UNKNOWN_PEER


def test_a_node_is_offline_when_its_connection_is_gone() -> None:
    mesh = Mesh()
    node = mesh.join("a")
    mesh.do(Disconnect("a", node.session, left=False))
    assert not mesh.registry.nodes["a"].online


def test_the_end_of_an_old_connection_does_not_matter() -> None:
    mesh = Mesh()
    old = mesh.join("a")
    mesh.node(join("a", auth_key=None, session="new"))
    mesh.do(Disconnect("a", old.session, left=True))
    assert mesh.registry.nodes["a"].online


def test_reconnecting_is_not_a_change_that_peers_see() -> None:
    mesh = Mesh()
    before = mesh.join("a")
    after = mesh.node(join("a", auth_key=None, session="s2", home="other"))
    assert after.version == before.version
    assert after.revision == mesh.registry.version > before.revision


def test_an_ephemeral_node_that_leaves_is_removed() -> None:
    mesh = Mesh(ephemeral=True)
    node = mesh.join("a")
    mesh.do(Disconnect("a", node.session, left=True))
    assert len(mesh.registry) == 0


def test_an_ephemeral_node_that_stays_away_is_removed() -> None:
    mesh = Mesh(ephemeral=True)
    node = mesh.join("a")
    sweep = Sweep((("a", node.session),))
    mesh.do(sweep)
    assert len(mesh.registry) == 1
    mesh.do(Disconnect("a", node.session, left=False))
    mesh.do(Sweep((("a", "older"), ("stranger", node.session))))
    assert len(mesh.registry) == 1
    mesh.do(sweep)
    assert len(mesh.registry) == 0


def test_other_nodes_may_be_away_forever() -> None:
    mesh = Mesh()
    node = mesh.join("a")
    mesh.do(Disconnect("a", node.session, left=True))
    mesh.do(Sweep((("a", node.session),)))
    assert len(mesh.registry) == 1


def test_the_nodes_of_a_dead_coordinator_are_declared_offline() -> None:
    mesh = Mesh()
    key = str(mesh.text)
    mesh.do(join("a", auth_key=key, home="dead"), join("b", auth_key=key, home="live"))
    mesh.do(MarkOffline(frozenset({"dead"})))
    online = {node.key: node.online for node in mesh.registry.nodes.values()}
    assert online == {"a": False, "b": True}


# Administration.


def test_a_removed_node_is_a_stranger_and_its_name_and_address_are_free() -> None:
    mesh = Mesh(networks=Networks.parse("10.0.0.0/30", "fd00::/64"))
    mesh.join("a", name="web")
    mesh.do(Remove("web"))
    assert mesh.refusal(join("a", auth_key=None)) is ErrorCode.NOT_A_MEMBER
    mesh.join("b", name="web")
    mesh.join("c", name="mail")
    assert mesh.registry.names["web"] == "b"


def test_an_expired_node_rejoins_with_its_old_address() -> None:
    mesh = Mesh()
    before = mesh.join("a")
    mesh.do(Expire("a"))
    assert mesh.refusal(join("a", auth_key=None)) is ErrorCode.NODE_EXPIRED
    after = mesh.join("a")
    assert after.number == before.number
    assert not after.expired


def test_a_taken_name_cannot_be_assigned() -> None:
    mesh = Mesh()
    mesh.join("a", name="web")
    mesh.join("b", name="mail")
    assert mesh.refusal(Rename("web", "Mail")) is ErrorCode.MALFORMED
    assert mesh.node(Rename("web", "WEB")).name == "web"


@pytest.mark.parametrize("operation", [Rename("x", "y"), Expire("x"), Remove("x")])
def test_a_missing_node_is_named(operation: Operation) -> None:
    result = Mesh().do(operation)[0]
    assert isinstance(result, Refused)
    assert "There is no node x" in result.message


def test_what_a_transaction_frees_is_free_only_after_it() -> None:
    mesh = Mesh()
    mesh.join("a", name="web")
    key = str(mesh.text)
    mesh.do(Rename("web", "shop"), join("b", name="web", auth_key=key))
    assert mesh.registry.names == {"shop": "a", "web-2": "b"}


def test_a_transaction_that_is_not_applied_leaves_no_trace() -> None:
    mesh = Mesh()
    mesh.join("a")
    before = dict(mesh.registry.nodes)
    draft = mesh.draft()
    for operation in (Remove("a"), join("b", auth_key=str(mesh.text)), Expire("b")):
        draft.perform(operation)
    assert mesh.registry.nodes == before


def test_an_auth_key_lets_nodes_in_from_its_creation_on() -> None:
    mesh = Mesh()
    text, key = another_key(mesh)
    assert mesh.refusal(join("a", auth_key=str(text))) is ErrorCode.TOKEN_UNKNOWN
    created, joined = mesh.do(CreateAuthKey(key), join("a", auth_key=str(text)))
    assert created == Accepted(auth_key=key)
    assert isinstance(joined, Accepted)
    assert mesh.auth_keys[key.number].uses == 1


def test_an_auth_key_never_takes_the_place_of_another() -> None:
    mesh = Mesh()
    known = mesh.auth_keys[mesh.text.number]
    _, key = another_key(mesh)
    operation = CreateAuthKey(replace(key, number=known.number))
    assert mesh.refusal(operation) is ErrorCode.MALFORMED
    assert mesh.auth_keys == {known.number: known}


def test_a_revoked_auth_key_admits_no_node_in_the_same_transaction_either() -> None:
    mesh = Mesh()
    text = str(mesh.text)
    before, revoked, after = mesh.do(
        join("a", auth_key=text),
        RevokeAuthKey(mesh.text.number),
        join("b", auth_key=text),
    )
    assert isinstance(before, Accepted)
    assert isinstance(revoked, Accepted)
    assert revoked.auth_key is not None
    assert (revoked.auth_key.revoked, revoked.auth_key.uses) == (True, 1)
    assert isinstance(after, Refused)
    assert after.code is ErrorCode.TOKEN_REVOKED


def test_a_missing_auth_key_cannot_be_revoked() -> None:
    assert Mesh().refusal(RevokeAuthKey("ffffffffffff")) is ErrorCode.TOKEN_UNKNOWN


def test_changes_of_auth_keys_and_the_url_are_not_sent_to_nodes() -> None:
    mesh = Mesh()
    assert mesh.draft().url is None
    draft = mesh.draft()
    draft.perform(CreateAuthKey(another_key(mesh)[1]))
    draft.perform(RevokeAuthKey(mesh.text.number))
    draft.perform(SetUrl("https://mesh.example"))
    assert draft.url == "https://mesh.example"
    assert draft.changes == Changes(mesh.registry.version)


@settings(max_examples=150)
@given(st.lists(st.lists(OPERATIONS, max_size=6), max_size=8))
def test_names_addresses_and_versions_stay_unique_whatever_happens(
    transactions: list[list[Operation]],
) -> None:
    mesh = Mesh()
    for operations in transactions:
        before = mesh.registry.version
        mesh.do(*(with_key(mesh, operation) for operation in operations))
        nodes = list(mesh.registry.nodes.values())
        assert len({node.name for node in nodes}) == len(nodes)
        assert len({node.number for node in nodes}) == len(nodes)
        assert mesh.registry.version in (before, before + 1)
        for node in nodes:
            assert node.version <= node.revision <= mesh.registry.version
            assert mesh.registry.nodes[mesh.registry.names[node.name]] == node


def another_key(mesh: Mesh) -> tuple[AuthKeyText, AuthKey]:
    return new_auth_key(
        mesh.random, reusable=True, ephemeral=False, created=0.0, lifetime=1e6
    )


def with_key(mesh: Mesh, operation: Operation) -> Operation:
    if isinstance(operation, Join):
        return replace(operation, auth_key=str(mesh.text))
    return operation
