"""The client of the API server asks at the right place, and says why it is refused."""

import pytest

from netlab.kubernetes.api import path_of


@pytest.mark.parametrize(
    ("version", "kind", "path"),
    [
        ("v1", "Namespace", "/api/v1/namespaces/x"),
        ("v1", "Service", "/api/v1/namespaces/default/services/x"),
        ("apps/v1", "DaemonSet", "/apis/apps/v1/namespaces/default/daemonsets/x"),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/x",
        ),
    ],
)
def test_an_object_is_found_by_its_kind(version: str, kind: str, path: str) -> None:
    manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}

    assert path_of(manifest) == path


def test_an_object_is_found_in_its_namespace() -> None:
    meta = {"name": "x", "namespace": "kube-system"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": meta}

    assert path_of(manifest) == "/api/v1/namespaces/kube-system/pods/x"
