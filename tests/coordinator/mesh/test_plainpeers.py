"""Plain WireGuard peers: how they come into the mesh, and which hub serves them."""

import os
from dataclasses import replace

import pytest

from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Accepted,
    AddPeer,
    AddUser,
    Administered,
    Approve,
    Assign,
    DisableUser,
    Refused,
    Remove,
    Rename,
)
from coordinator.mesh.plainpeers import (
    ConfigToken,
    find_plain_peer,
    hubs_in_order,
    is_token_of,
    plain_peers,
)
from meshwg.keys import format_key
from meshwg.wire.control import ErrorCode
from tests.coordinator.mesh.drafting import Mesh, join
from tests.coordinator.mesh.hubs import BEHIND_NAT, add, hub

PHONE = format_key(bytes(range(32)))
OTHER = format_key(bytes(range(1, 33)))


def test_a_plain_peer_gets_a_name_addresses_and_the_hub() -> None:
    mesh = mesh_with_hub()

    phone = mesh.node(AddPeer("Alice's Phone", PHONE))

    assert (phone.name, phone.role) == ("alice-s-phone", "plain")
    assert phone.via == hub().key
    assert not phone.online
    assert find_plain_peer(mesh.registry, "alice-s-phone") == phone
    assert find_plain_peer(mesh.registry, PHONE) == phone
    assert plain_peers(mesh.registry) == [phone]
    assert b'"via":"hub' in phone.peer_json(mesh.registry.networks)
    assert b'"role":"plain"' in phone.peer_json(mesh.registry.networks)


def test_it_belongs_to_its_owner_and_has_tags_like_a_node() -> None:
    mesh = mesh_with_hub()
    mesh.do(AddUser("alice"))

    mesh.node(AddPeer("phone", PHONE, owner="alice"))

    assert find_named(mesh, "phone").owner == "alice"
    mesh.do(Assign("phone", "", ("mobile",)), Rename("phone", "tablet"))
    assert find_named(mesh, "tablet").tags == ("mobile",)


def test_nobody_gets_a_peer_for_an_owner_or_a_tag_that_is_not_known() -> None:
    mesh = mesh_with_hub()

    assert mesh.refusal(AddPeer("phone", PHONE, owner="mallory"))
    assert mesh.refusal(AddPeer("phone", PHONE, tags=("No Tag",)))
    assert plain_peers(mesh.registry) == []


def test_when_its_owner_is_disabled_it_is_cut_off() -> None:
    mesh = mesh_with_hub()
    mesh.do(AddUser("alice"))
    mesh.node(AddPeer("phone", PHONE, owner="alice"))

    mesh.do(DisableUser("alice"))

    assert find_named(mesh, "phone").expired


def test_the_hub_that_is_asked_for_is_taken_and_else_the_oldest_that_will_do() -> None:
    mesh = Mesh()
    young, old = hub("young", 3, joined=20.0), hub("old", 4, joined=10.0)
    walled = hub("walled", 5, joined=1.0, nat=BEHIND_NAT)
    add(mesh, young, old, walled)

    assert hubs_in_order(mesh.registry.nodes.values()) == [walled, old, young]
    assert mesh.node(AddPeer("phone", PHONE)).via == old.key
    assert mesh.node(AddPeer("other", OTHER, hub="young")).via == young.key


def test_where_no_hub_can_be_reached_the_first_ones_reason_is_told() -> None:
    mesh = Mesh()
    add(mesh, hub("walled", 5, nat=BEHIND_NAT))

    (result,) = mesh.do(AddPeer("phone", PHONE))

    assert isinstance(result, Refused)
    assert "walled cannot be reached from outside: it is behind a NAT" in result.message
    # Whoever knows of a forwarded port says so.
    peer = mesh.node(AddPeer("phone", PHONE, endpoint="mesh.example.org:51820"))
    assert peer.endpoint == "mesh.example.org:51820"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (AddPeer("phone", PHONE, hub="nobody"), "There is no node nobody"),
        (AddPeer("phone", PHONE, hub="node"), "node is no hub: start it with --hub"),
        (AddPeer("phone", "no key"), "no public key"),
        (AddPeer("hub", PHONE), "'meshwg-coordinator node remove hub'"),
        (AddPeer("node", PHONE), "A member is called node already"),
        (AddPeer("phone", PHONE, full_tunnel=True), "hub is not an approved exit"),
    ],
    ids=["no-hub", "not-a-hub", "no-key", "hubs-name", "nodes-name", "no-exit"],
)
def test_what_cannot_be_is_refused_with_the_mend(wanted: AddPeer, why: str) -> None:
    mesh = mesh_with_hub()
    mesh.join("n" * 44)

    (result,) = mesh.do(wanted)

    assert isinstance(result, Refused)
    assert why in result.message
    assert plain_peers(mesh.registry) == []


def test_without_any_hub_it_is_said_how_to_have_one() -> None:
    mesh = Mesh()

    (result,) = mesh.do(AddPeer("phone", PHONE))

    assert isinstance(result, Refused)
    assert "start a node with --hub" in result.message


def test_a_key_is_one_peers_only() -> None:
    mesh = mesh_with_hub()
    mesh.node(AddPeer("phone", PHONE))

    one, two = mesh.do(AddPeer("other", PHONE), AddPeer("phone", OTHER))

    assert isinstance(one, Refused)
    assert "public key is phone's already" in one.message
    assert isinstance(two, Refused)
    assert "'meshwg-coordinator peer remove phone'" in two.message


def test_a_node_cannot_come_with_the_key_of_a_plain_peer() -> None:
    mesh = mesh_with_hub()
    mesh.node(AddPeer("phone", PHONE))

    for auth_key in (None, str(mesh.text)):
        assert mesh.refusal(join(PHONE, auth_key=auth_key)) is ErrorCode.NOT_A_MEMBER
    assert find_named(mesh, "phone").role == "plain"


def test_a_plain_peer_stays_one_whatever_is_approved_of_it() -> None:
    mesh = mesh_with_hub()
    mesh.node(AddPeer("phone", PHONE))

    for item in ("10.1.0.0/16", "exit", "hub"):
        assert mesh.refusal(Approve("phone", item)) is ErrorCode.MALFORMED
    assert find_named(mesh, "phone").role == "plain"


def test_a_removed_peer_can_be_added_anew() -> None:
    mesh = mesh_with_hub()
    mesh.node(AddPeer("phone", PHONE))

    mesh.do(Remove("phone"))

    assert plain_peers(mesh.registry) == []
    assert mesh.node(AddPeer("phone", OTHER)).key == OTHER


def test_a_full_mesh_has_no_room_for_peers() -> None:
    mesh = Mesh(networks=Networks.parse("100.64.0.0/30", "fd00::/126"))
    add(mesh, hub("hub", 1))
    mesh.join("n" * 44)

    assert mesh.refusal(AddPeer("phone", PHONE)) is ErrorCode.MESH_FULL


def test_the_audit_log_says_who_added_it() -> None:
    mesh = mesh_with_hub()
    draft = mesh.draft()

    result = draft.perform(Administered(AddPeer("phone", PHONE), "root@home"))

    assert isinstance(result, Accepted)
    (entry,) = draft.audited
    assert (entry.action, entry.target) == ("add-peer", "phone")
    assert entry.before == "null"
    assert PHONE in entry.after


def test_only_its_own_secret_fetches_a_configuration() -> None:
    token, other = (ConfigToken.generate(os.urandom) for _ in range(2))
    peer = replace(hub(), config_token=token.digest)

    assert is_token_of(peer, token.text)
    assert not is_token_of(peer, other.text)
    assert not is_token_of(peer, "")
    assert not is_token_of(peer, "\udcff")
    assert not is_token_of(replace(peer, config_token=""), "")


def test_nodes_are_no_plain_peers() -> None:
    mesh = mesh_with_hub()

    assert find_plain_peer(mesh.registry, "hub") is None
    assert find_plain_peer(mesh.registry, "nobody") is None


def mesh_with_hub() -> Mesh:
    mesh = Mesh()
    add(mesh, hub())
    return mesh


def find_named(mesh: Mesh, name: str) -> Node:
    found = find_plain_peer(mesh.registry, name)
    assert found is not None
    return found
