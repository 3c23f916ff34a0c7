"""The accounts of the manifest can do what they need, and nothing else: it is tried."""

from typing import Any

import pytest

from netlab.kubernetes.agents import AGENT, COORDINATOR, NAMESPACE, new_token
from netlab.kubernetes.api import Api, ApiError, Json
from netlab.kubernetes.cluster import Cluster

pytestmark = pytest.mark.kubernetes

FORBIDDEN = 403
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
NAMESPACES = ("default", NAMESPACE, "kube-node-lease")


@pytest.fixture
def agent(cluster: Cluster) -> Api:
    """The API server as the agent's account sees it, without any pod of it."""
    return cluster.api.as_bearer(new_token(cluster.api, AGENT))


def test_the_agent_has_the_rights_that_it_needs_and_no_others(agent: Api) -> None:
    assert rights(agent, NAMESPACE) == {
        ("nodes", "get"),
        ("nodes", "list"),
        ("nodes", "watch"),
        ("nodes/status", "patch"),
    }
    assert rights(agent, "default") - rights(agent, NAMESPACE) == {("events", "create")}


def test_the_coordinator_may_only_read_nodes(cluster: Cluster) -> None:
    coordinator = cluster.api.as_bearer(new_token(cluster.api, COORDINATOR))

    for namespace in NAMESPACES:
        assert rights(coordinator, namespace) == {("nodes", "get")}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/secrets", None),
        ("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps", None),
        ("GET", "/api/v1/pods", None),
        ("GET", "/apis/apps/v1/daemonsets", None),
        ("DELETE", "/api/v1/nodes/office", None),
        ("PATCH", "/api/v1/nodes/home", {"metadata": {"labels": {"a": "b"}}}),
        ("PATCH", "/api/v1/nodes/home", {"spec": {"podCIDR": "10.244.9.0/24"}}),
        ("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", {"kind": "Pod"}),
        ("POST", f"/api/v1/namespaces/{NAMESPACE}/events", {"kind": "Event"}),
        (
            "POST",
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{COORDINATOR}/token",
            {"kind": "TokenRequest", "spec": {}},
        ),
    ],
)
def test_the_agent_is_refused(
    agent: Api, method: str, path: str, body: Json | None
) -> None:
    with pytest.raises(ApiError) as refusal:
        agent.ask(method, path, body, kind_of(method))

    assert refusal.value.status == FORBIDDEN


def test_the_agent_changes_no_other_node_than_its_own(cluster: Cluster) -> None:
    account = cluster.api.as_bearer(cluster.agent_token("home"))
    condition = {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "MeshReady",
        "message": "The mesh routes the pods of this node",
    }
    change = {"status": {"conditions": [condition]}}
    kind = "application/strategic-merge-patch+json"

    account.ask("PATCH", "/api/v1/nodes/home/status", change, kind)
    with pytest.raises(ApiError, match="Node object of its own node only"):
        account.ask("PATCH", "/api/v1/nodes/office/status", change, kind)


def test_a_token_that_is_for_the_mesh_is_of_no_use_to_the_api_server(
    cluster: Cluster,
) -> None:
    token = new_token(cluster.api, AGENT, audiences=["meshwg"])

    with pytest.raises(ApiError) as refusal:
        cluster.api.as_bearer(token).get("/api/v1/nodes/home")
    assert refusal.value.status == 401


def rights(account: Api, namespace: str) -> set[tuple[str, str]]:
    """Return what an account may do with what, beside what every account may."""
    question = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = account.post(f"{AUTHORIZATION}/selfsubjectrulesreviews", question)
    found: Any = answer["status"]["resourceRules"]
    return {
        (resource, verb)
        for rule in found
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if not resource.startswith(("self", "clustertrustbundles"))
    }


def kind_of(method: str) -> str:
    merge = "application/merge-patch+json"
    return merge if method == "PATCH" else "application/json"
