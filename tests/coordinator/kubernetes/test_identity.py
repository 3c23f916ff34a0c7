"""What a node of a cluster has, and what another one has as well."""

from coordinator.kubernetes.identity import ClusterIdentity, is_from_cluster

PODS, OTHERS = "10.244.1.0/24", "10.244.2.0/24"


def test_networks_of_another_node_are_lost() -> None:
    identity = ClusterIdentity("n1", "u1", (PODS, OTHERS))
    assert identity.without((OTHERS, "10.9.0.0/16")).networks == (PODS,)
    assert identity.without(()) == identity


def test_a_rival_is_named_by_the_network_that_it_has_as_well() -> None:
    identity = ClusterIdentity("n1", "u1", (), ((PODS, "n2"),))
    assert identity.rival(PODS) == "n2"
    assert identity.rival(OTHERS) is None


def test_the_tags_of_a_cluster_are_told_from_those_of_administrators() -> None:
    assert is_from_cluster("kubernetes")
    assert is_from_cluster("kubernetes.zone.west")
    assert not is_from_cluster("kubernetes-admin")
