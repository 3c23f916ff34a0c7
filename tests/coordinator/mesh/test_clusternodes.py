"""Members that are nodes of a Kubernetes cluster, and what that gives them."""

from dataclasses import replace

from coordinator.kubernetes.identity import ClusterIdentity, ClusterProof
from coordinator.mesh.approvals import Announcement
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Administered,
    Assign,
    Disconnect,
    Join,
    Refuse,
    Refused,
    Update,
)
from meshwg.wire.control import ErrorCode
from tests.coordinator.mesh.drafting import Mesh, join

PODS, OTHERS = "10.244.1.0/24", "10.244.2.0/24"


def test_a_node_is_let_in_by_what_its_cluster_says_and_named_by_that() -> None:
    mesh = Mesh()
    node = mesh.node(joining("a", "n1.example", PODS))
    assert (node.name, node.owner) == ("n1", "")
    assert node.tags == ("kubernetes", "kubernetes.zone.west")
    assert node.routes == (PODS,)
    assert node.withheld == ()


def test_a_network_that_is_not_the_node_s_own_waits() -> None:
    mesh = Mesh()
    node = mesh.node(replace(joining("a", "n1", PODS), routes=(PODS, OTHERS)))
    assert node.routes == (PODS,)
    (state,) = node.withheld
    assert (state.item, state.state) == (OTHERS, "advertised")
    assert state.reason.startswith("it is no PodCIDR of the cluster's node n1")


def test_a_network_that_two_nodes_of_the_cluster_have_is_the_first_one_s() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    rival = ClusterIdentity("n2", "u2", (), ((PODS, "n1"),))
    node = mesh.node(
        replace(joining("b", "n2"), proof=ClusterProof(rival), routes=(PODS,))
    )
    assert node.routes == ()
    assert node.withheld[0].reason == "the cluster gave it to the node n1 as well"
    assert mesh.registry.nodes["a"].routes == (PODS,)


def test_a_network_that_the_cluster_gives_to_another_node_goes_there() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    node = mesh.node(joining("b", "n2", PODS))
    assert node.routes == (PODS,)
    former = mesh.registry.nodes["a"]
    assert former.routes == ()
    assert former.cluster == ClusterIdentity("n1", "u-n1", ())


def test_a_member_comes_back_by_its_key_when_the_cluster_says_nothing() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    silent = Refused(ErrorCode.TRY_AGAIN, "The cluster does not answer")
    again = replace(
        join("a", auth_key=None), unproved=silent, routes=(PODS,), name="n1"
    )
    node = mesh.node(again)
    assert node.routes == (PODS,)
    assert node.cluster is not None


def test_a_stranger_is_refused_in_the_words_of_what_was_found() -> None:
    mesh = Mesh()
    refused = Refused(ErrorCode.TOKEN_EXPIRED, "The service-account token has expired")
    assert mesh.do(replace(join("a", auth_key=None), unproved=refused)) == [refused]


def test_a_new_pod_network_counts_from_the_next_proof_on() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    mesh.do(Update("a", "[]", "null", Announcement(routes=(OTHERS,))))
    assert mesh.registry.nodes["a"].routes == ()
    assert mesh.node(joining("a", "n1", OTHERS)).routes == (OTHERS,)


def test_a_machine_made_anew_takes_over_when_the_former_is_away() -> None:
    mesh = Mesh()
    former = mesh.node(joining("a", "n1", PODS))
    early = mesh.do(joining("b", "n1", PODS))[0]
    assert isinstance(early, Refused)
    assert early.code is ErrorCode.TRY_AGAIN
    mesh.do(Disconnect("a", "s1", left=False))
    node = mesh.node(joining("b", "n1", PODS))
    assert "a" not in mesh.registry.nodes
    assert node.routes == (PODS,)
    # Others know the name n1 by the former key, and so would not trust another one.
    assert (former.name, node.name) == ("n1", "n1-2")
    mesh.do(Disconnect("b", "s1", left=False))
    assert mesh.node(joining("c", "n1", PODS)).name == "n1-3"


def test_a_copied_key_is_of_one_node_only() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    (refused,) = mesh.do(joining("a", "n2", OTHERS))
    assert isinstance(refused, Refused)
    assert refused.message.startswith("This key is that of the cluster's node n1")


def test_what_an_administrator_decides_goes_before_what_the_cluster_says() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    mesh.do(Administered(Refuse("n1", PODS), "alice"))
    assert mesh.node(joining("a", "n1", PODS)).routes == ()


def test_tags_that_an_administrator_gave_stay_and_those_of_labels_follow() -> None:
    mesh = Mesh()
    mesh.node(joining("a", "n1", PODS))
    mesh.do(Assign("n1", "", ("kubernetes", "kubernetes.zone.west", "web")))
    moved = ClusterProof(ClusterIdentity("n1", "u-n1", (PODS,)), ("kubernetes",))
    node = mesh.node(replace(joining("a", "n1", PODS), proof=moved))
    assert node.tags == ("kubernetes", "web")


def test_a_member_by_a_token_becomes_a_node_of_the_cluster_and_keeps_its_name() -> None:
    mesh = Mesh()
    before = mesh.join("a", name="n1")
    node = mesh.node(joining("a", "n1", PODS))
    assert (node.number, node.name) == (before.number, "n1")
    assert node.routes == (PODS,)


def test_an_expired_node_comes_back_by_what_its_cluster_says() -> None:
    mesh = Mesh()
    node: Node = mesh.node(joining("a", "n1", PODS))
    mesh.registry.nodes["a"] = replace(node, expired=True, online=False)
    assert not mesh.node(joining("a", "n1", PODS)).expired


def joining(key: str, name: str, *networks: str) -> Join:
    """Return the join of a node of the cluster that has these networks."""
    identity = ClusterIdentity(name, f"u-{name}", networks)
    proof = ClusterProof(identity, ("kubernetes", "kubernetes.zone.west"))
    return replace(
        join(key, name="whatever", auth_key=None, routes=networks), proof=proof
    )
