"""The cluster of all tests here: it is started once, since that takes a minute."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from netlab.kubernetes.cluster import Cluster, daemon_set, unavailable
from netlab.kubernetes.rootfs import BOX
from netlab.lab import Lab
from netlab.machine import Guest

PORT = 8080
"""Where each pod is a web server, which shows its ``/etc``."""
SERVE = ["/bin/httpd", "-f", "-p", f"[::]:{PORT}", "-h", "/etc"]


@dataclass(frozen=True, slots=True)
class Pods:
    """Two pods on each node, by the node's name."""

    one: dict[str, Guest]
    two: dict[str, Guest]


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes behind three kinds of NAT; logs and captures stay if a test fails."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Lab(title="a cluster") as lab:
        cluster = Cluster(lab)
        cluster.wait_until_ready()
        yield cluster
        lab.keep_files = bool(request.session.testsfailed)


@pytest.fixture
def pods(cluster: Cluster) -> Pods:
    """Pods that know nothing of the mesh, as they are now."""
    names = ("one", "two")
    cluster.api.apply(daemon_set(name, SERVE, BOX) for name in names)
    return Pods(*(cluster.pods_by_node(f"app={name}") for name in names))
