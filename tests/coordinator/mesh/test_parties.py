"""Whom a word means."""

from ipaddress import ip_address, ip_network

import pytest

from coordinator.mesh.operations import AddUser, ApplyPolicy, Assign
from coordinator.mesh.parties import party_of
from meshwg.errors import MeshError
from tests.coordinator.mesh.drafting import Mesh

POLICY = '[hosts]\nprinter = "10.9.0.5"\n'


def test_nodes_are_meant_by_name_or_address() -> None:
    mesh = Mesh()
    node = mesh.join("k", "web")
    address = mesh.registry.networks.addresses(node.number)[0]
    for word in ("web", "node:web", address):
        assert party_of(word, mesh.registry) == node.subject


def test_tags_users_hosts_and_addresses_are_meant_too() -> None:
    mesh = Mesh()
    mesh.join("k", "web")
    mesh.do(AddUser("alice"), Assign("web", "alice", ()), ApplyPolicy(POLICY, "me"))
    registry = mesh.registry

    assert getattr(party_of("tag:db", registry), "tags", None) == ("db",)
    for user in ("alice", "bob@example.org"):
        assert getattr(party_of(user, registry), "owner", None) == user
    assert party_of("10.1.2.3", registry) == ip_address("10.1.2.3")
    assert party_of("printer", registry) == ip_network("10.9.0.5").network_address


def test_nobody_is_named() -> None:
    with pytest.raises(MeshError, match="no node, user or address nobody"):
        party_of("nobody", Mesh().registry)
