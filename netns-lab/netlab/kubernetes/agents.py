"""The mesh of a cluster: a coordinator beside it, and the agent on each of its nodes.

What is applied to the cluster is what ``meshwg-k8s manifest`` prints, and nothing else.
The coordinator is outside of the cluster, as where it serves other machines as well; of
its own objects only those are applied that let it ask who the nodes are.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from meshwg.cli.client import DaemonClient
from meshwg.errors import MeshError
from netlab.errors import LabError
from netlab.kubernetes.api import Api, Json
from netlab.kubernetes.controlplane import ControlPlane
from netlab.kubernetes.rootfs import MESHWG
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR as COORDINATOR_PROGRAM
from netlab.mesh import PORT, Coordinator

PROGRAM = str(Path(sys.executable).with_name("meshwg-k8s"))
NAMESPACE = "kube-system"
AGENT, COORDINATOR = "meshwg-agent", "meshwg-coordinator"
"""Names of their service accounts, and of the agents' DaemonSet."""
LABEL = "app.kubernetes.io/name=meshwg-agent"
INTERFACE = "meshwg0"
RIGHTS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
TOKEN_SECONDS = 24 * 3600


class Agents:
    """Our programs in a cluster, as its administrator sees them."""

    def __init__(self, lab: Lab, plane: ControlPlane) -> None:
        self._api = plane.api
        host = lab.add_host("coordinator", lab.internet, count4=2, ipv6=False)
        self._options = ["--coordinator", f"http://{host.address(4)}:{PORT}"]
        self._options += ["--api-server", plane.url, "--issuer", plane.url]
        self._options += ["--image", MESHWG]
        own = self._printed(host)
        self._api.apply(each for each in own if each["kind"] in RIGHTS)
        token = host.write_file("token", new_token(self._api, COORDINATOR))
        self.coordinator = Coordinator(
            host,
            settings={
                "kubernetes_issuer": plane.url,
                "kubernetes_api": plane.url,
                "kubernetes_ca": str(plane.ca),
                "kubernetes_token_file": str(token),
            },
        )

    def start(self) -> None:
        """Have the cluster start an agent on each node, present and to come."""
        self._api.apply(self.manifest())

    def manifest(self, *options: str) -> list[Json]:
        """Return what the program prints for this cluster, without a coordinator."""
        key = self.coordinator.public_key()
        more = ("--coordinator-key", key, "--without-coordinator")
        return self._printed(self.coordinator.host, *more, *options)

    def approve(self, node: str, prefix: str) -> None:
        """Approve a network of a node, on the coordinator."""
        where = ["--data-dir", str(self.coordinator.data_dir)]
        command = [*COORDINATOR_PROGRAM, "route", "approve", node, prefix, *where]
        self.coordinator.host.run(command)

    def _printed(self, host: Host, *options: str) -> list[Json]:
        command = [PROGRAM, "manifest", *self._options, *options]
        text = host.run(command).stdout
        return [dict(each) for each in yaml.safe_load_all(text) if each]


def new_token(api: Api, account: str, **more: Any) -> str:
    """Return a token of a service account, as kubelet gets them for pods.

    :param more: of its ``spec``, such as ``audiences``.
    """
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS, **more},
    }
    token: str = api.post(path, body)["status"]["token"]
    return token


def status(node: Host) -> Json:
    """Return what ``meshwg status --json`` prints on a node.

    :raises LabError: if its agent does not answer.
    """
    # The node's own /run, seen from outside.
    socket = node.directory / "run" / "meshwg" / "meshwg.sock"
    try:
        return DaemonClient(str(socket)).get("/v1/status")
    except MeshError as error:
        raise LabError(f"{node.name}: {error}") from None
