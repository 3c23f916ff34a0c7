"""What of a Node object is believed: nothing that its own kubelet could write."""

from typing import Any

import pytest

from coordinator.kubernetes.nodeobjects import LABEL_PREFIX, NodeFacts, read_facts
from meshwg.wire.control import MAX_TAGS


def test_pod_networks_and_restricted_labels_are_read() -> None:
    labels = {
        f"{LABEL_PREFIX}zone": "west",
        f"{LABEL_PREFIX}trusted": "true",
        "topology.kubernetes.io/zone": "east",
        "meshwg/tag": "admin",
    }
    facts = read_facts(
        {
            "metadata": {"uid": "u1", "labels": labels, "annotations": {"a": "b"}},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
        }
    )
    assert facts == NodeFacts(
        "u1",
        ("10.244.1.0/24",),
        ("kubernetes", "kubernetes.trusted", "kubernetes.zone.west"),
    )


def test_a_label_that_can_be_no_tag_is_none() -> None:
    labels = {
        f"{LABEL_PREFIX}Zone": "West",
        f"{LABEL_PREFIX}a b": "",
        LABEL_PREFIX: "x",
    }
    assert read_facts({"metadata": {"labels": labels}}).tags == ("kubernetes",)


def test_a_node_has_no_more_tags_than_others_are_told_of() -> None:
    labels = {f"{LABEL_PREFIX}l{n}": "" for n in range(100)}
    assert len(read_facts({"metadata": {"labels": labels}}).tags) == MAX_TAGS


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {},
        {"metadata": [], "spec": 7},
        {"metadata": {"uid": 7, "labels": {f"{LABEL_PREFIX}a": 1}}},
        {"spec": {"podCIDRs": [1, "x", "10.0.0.1/8"], "podCIDR": 5}},
    ],
)
def test_what_has_another_form_is_not_there(raw: Any) -> None:
    assert read_facts(raw) == NodeFacts("", (), ("kubernetes",))


def test_no_more_networks_are_read_than_there_are_families() -> None:
    spec = {"podCIDRs": [f"10.244.{n}.0/24" for n in range(9)]}
    assert len(read_facts({"spec": spec}).networks) == 2
