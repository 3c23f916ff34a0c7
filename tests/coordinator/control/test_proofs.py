"""Joins that wait until it is known what a node of a cluster is."""

from coordinator.control.connection import Connection, State
from coordinator.control.proofs import Proofs, ProofWanted
from coordinator.kubernetes.identity import ClusterIdentity, ClusterProof
from coordinator.mesh.operations import Refused
from meshwg.wire.control import ErrorCode
from tests.coordinator.mesh.drafting import join

PROOF = ClusterProof(ClusterIdentity("n1", "u1"))
JOIN = join("k", auth_key=None, session="s")


def test_a_join_waits_for_its_proof_and_goes_on_with_it() -> None:
    proofs, connection = Proofs(is_known=True), Connection(1, "192.0.2.1", "s", 0.0)
    assert proofs.ask(connection, JOIN, "token") is None
    assert connection.state is State.JOINING
    assert proofs.wanted() == [ProofWanted("s", "k", "token")]
    assert proofs.wanted() == []
    ready = proofs.proved("s", PROOF)
    assert ready is not None
    assert ready[0] is connection
    assert ready[1].proof == PROOF
    assert proofs.proved("s", PROOF) is None


def test_a_join_that_proves_nothing_goes_on_with_the_reason() -> None:
    proofs, connection = Proofs(is_known=True), Connection(1, "192.0.2.1", "s", 0.0)
    proofs.ask(connection, JOIN, "token")
    refused = Refused(ErrorCode.TOKEN_EXPIRED, "It has expired")
    ready = proofs.proved("s", refused)
    assert ready is not None
    assert (ready[1].proof, ready[1].unproved) == (None, refused)


def test_who_has_gone_meanwhile_does_not_join() -> None:
    proofs, connection = Proofs(is_known=True), Connection(1, "192.0.2.1", "s", 0.0)
    proofs.ask(connection, JOIN, "token")
    connection.state = State.CLOSED
    assert proofs.proved("s", PROOF) is None


def test_a_coordinator_without_cluster_looks_at_nothing() -> None:
    proofs, connection = Proofs(is_known=False), Connection(1, "192.0.2.1", "s", 0.0)
    ready = proofs.ask(connection, JOIN, "token")
    assert ready is not None
    assert ready.unproved is not None
    assert "--kubernetes-issuer" in ready.unproved.message
    assert proofs.wanted() == []


def test_a_token_is_never_shown() -> None:
    assert "secret" not in repr(ProofWanted("s", "k", "secret"))
