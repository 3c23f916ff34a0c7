"""What the agent writes into the cluster."""

from meshwg.kubernetes.agent import SetCondition, Tell
from meshwg.kubernetes.objects import MAX_MESSAGE, condition_patch, event
from tests.kubernetes.cluster import PODS, node

AT = "2026-11-30T12:00:00Z"


def test_a_condition_is_merged_with_the_others_by_its_type() -> None:
    patch = condition_patch(SetCondition(False, "MeshReady", "All is well"), AT)
    (condition,) = patch["status"]["conditions"]
    assert condition["type"] == "NetworkUnavailable"
    assert (condition["status"], condition["reason"]) == ("False", "MeshReady")
    unavailable = condition_patch(SetCondition(True, "NoPodCIDR", "None"), AT)
    assert unavailable["status"]["conditions"][0]["status"] == "True"


def test_an_event_is_about_the_node_object() -> None:
    raw = event(Tell("NoPodCIDR", "x" * 5000), "n1", node(PODS), AT)
    assert raw["involvedObject"]["uid"] == "u1"
    assert (raw["type"], raw["reason"]) == ("Warning", "NoPodCIDR")
    assert len(raw["message"]) == MAX_MESSAGE
    assert raw["metadata"]["generateName"] == "n1."


def test_there_are_events_on_a_node_that_nobody_knows() -> None:
    raw = event(Tell("MeshReady", "Yes", is_warning=False), "n1", None, AT)
    assert raw["involvedObject"]["uid"] == "n1"
    assert raw["type"] == "Normal"
