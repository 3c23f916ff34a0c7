"""Services: kube-proxy leads to a pod, and the mesh to its node."""

from typing import Any

import dns.exception
import dns.message
import dns.query
import pytest

from netlab.kubernetes.api import Json
from netlab.kubernetes.cluster import KINDS, Cluster, daemon_set
from netlab.kubernetes.controlplane import DNS_SERVICE
from netlab.kubernetes.rootfs import DNS
from netlab.machine import Guest
from tests.cluster.conftest import PORT, Pods
from tests.cluster.probes import PATIENCE, fetch

pytestmark = pytest.mark.kubernetes

WEB = "web.default.svc.cluster.local"
TRIES = 5


@pytest.fixture
def web(cluster: Cluster, pods: Pods) -> str:
    """The address of a service of web servers on all nodes."""
    service = a_service("web", "one", [("http", "TCP", 80, PORT)])
    cluster.api.apply([service])
    found: Json = cluster.api.get("/api/v1/namespaces/default/services/web")
    address: str = found["spec"]["clusterIP"]
    return address


@pytest.fixture
def name_server(cluster: Cluster, web: str) -> str:
    """The address of a service with one name server, which knows the other service."""
    command = ["/usr/sbin/dnsmasq", "-k", "--user=root", "--no-resolv", "--no-hosts"]
    command += ["--log-facility=-", f"--host-record={WEB},{web}"]
    pod = daemon_set("dns", command, DNS)
    pod["spec"]["template"]["spec"]["nodeSelector"] = {
        "kubernetes.io/hostname": "office"
    }
    ports = [("dns", "UDP", 53, 53), ("dns-tcp", "TCP", 53, 53)]
    service = a_service("dns", "dns", ports)
    service["spec"]["clusterIP"] = DNS_SERVICE
    cluster.api.apply([pod, service])
    cluster.pods("app=dns", 1)
    return DNS_SERVICE


@pytest.mark.parametrize("node", KINDS)
def test_pods_of_every_node_find_names(
    pods: Pods, web: str, name_server: str, node: str
) -> None:
    assert looked_up(pods.one[node], name_server, WEB) == [web]


@pytest.mark.parametrize("node", KINDS)
def test_pods_of_every_node_use_a_service(pods: Pods, web: str, node: str) -> None:
    # Each connection is led to one of three pods; all of them are tried by this.
    for _ in range(4 * len(KINDS)):
        assert fetch(pods.two[node], f"http://{web}/passwd").startswith(b"root:")


def a_service(name: str, app: str, ports: list[tuple[str, str, int, int]]) -> Json:
    """Return a Service.

    :param ports: name, protocol, port of the service and port of its pods.
    """
    listed = [
        {"name": called, "protocol": protocol, "port": port, "targetPort": target}
        for called, protocol, port, target in ports
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": app}, "ports": listed},
    }


def looked_up(pod: Guest, server: str, name: str) -> list[str]:
    """Return the addresses that a name server tells a pod."""
    question = dns.message.make_query(name, "A")

    def ask() -> Any:
        # The first question may come before kube-proxy knows the pod.
        for _ in range(TRIES):
            try:
                return dns.query.udp(question, server, timeout=PATIENCE / TRIES)
            except dns.exception.Timeout:
                continue
        return dns.query.udp(question, server, timeout=PATIENCE)

    answer = pod.call(ask).answer
    return [record.address for rrset in answer for record in rrset]
