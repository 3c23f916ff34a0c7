"""What of a Node object is read, whatever is in it."""

from typing import Any

import pytest

from meshwg.kubernetes.clusternode import read_node, to_note
from tests.kubernetes.cluster import PODS, PODS6, node_object


def test_pod_networks_of_both_families_are_read_in_their_order() -> None:
    node = read_node(node_object(PODS, PODS6))
    assert (node.name, node.uid) == ("n1", "u1")
    assert node.pod_networks == (PODS, PODS6)
    assert node.addresses == ("192.168.1.7",)


def test_a_node_of_an_old_api_server_has_one_pod_network() -> None:
    raw = {"metadata": {"name": "n1"}, "spec": {"podCIDR": PODS}}
    assert read_node(raw).pod_networks == (PODS,)


def test_a_pod_network_that_is_none_is_told_apart() -> None:
    node = read_node(node_object("10.244.1.0", "10.244.1.7/24", PODS6))
    assert node.pod_networks == ("10.244.1.0/32", PODS6)
    assert node.unreadable == ("10.244.1.7/24",)


@pytest.mark.parametrize(
    ("conditions", "is_unavailable"),
    [
        ([], None),
        ([{"type": "NetworkUnavailable", "status": "True"}], True),
        ([{"type": "NetworkUnavailable", "status": "Unknown"}], True),
        ([{"type": "NetworkUnavailable", "status": "False"}], False),
        ([{"type": "Ready", "status": "True"}], None),
    ],
)
def test_the_condition_of_the_network_is_read(
    conditions: list[dict[str, str]], is_unavailable: bool | None
) -> None:
    node = read_node(node_object(PODS, conditions=conditions))
    assert node.is_unavailable is is_unavailable


def test_a_node_of_the_control_plane_is_known_by_its_label() -> None:
    label = "node-role.kubernetes.io/control-plane"
    assert read_node(node_object(labels={label: ""})).is_control_plane
    assert not read_node(node_object(labels={"role": "master"})).is_control_plane


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"metadata": None, "spec": [], "status": "x"},
        {"metadata": {"name": 7, "annotations": {"a": 1}}, "spec": {"podCIDRs": {}}},
        {"spec": {"podCIDRs": [None, 3, {}]}, "status": {"addresses": [1, {}]}},
        {"status": {"addresses": [{"type": "InternalIP", "address": "fe80::1%e"}]}},
        {"status": {"conditions": [{"type": 1}, "x"]}},
    ],
)
def test_what_has_another_form_is_not_there(raw: dict[str, Any]) -> None:
    node = read_node(raw)
    assert node.pod_networks == node.addresses == ()
    assert node.is_unavailable is None


def test_a_node_is_the_same_after_a_restart() -> None:
    label = {"node-role.kubernetes.io/control-plane": ""}
    node = read_node(node_object(PODS, PODS6, labels=label))
    assert read_node(to_note(node)) == node
