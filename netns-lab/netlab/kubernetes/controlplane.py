"""The control plane of a cluster on one host: etcd, API server, controllers, scheduler.

The host is in the public internet, as in a cloud; it is no node of its own cluster, and
knows nothing of a mesh. All identities are static tokens, made anew for each cluster.
"""

import base64
import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from netlab.errors import CommandFailed
from netlab.kubernetes.api import Api
from netlab.kubernetes.programs import Programs
from netlab.machine import Host
from netlab.process import Process

PORT = 6443
ETCD = "http://127.0.0.1:2379"
ETCD_PEERS = "http://127.0.0.1:2380"
POD_NETWORKS = ("10.244.0.0/16", "fd00:10:244::/56")
"""Of the pods of all nodes; each node gets a /24 and a /64."""
SERVICE_NETWORKS = ("10.96.0.0/16", "fd00:10:96::/112")
DNS_SERVICE = "10.96.0.10"
"""Where pods ask for names, if the cluster has somebody who answers."""

ADMINISTRATOR = "admin"
CONTROLLERS = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
PROXY = "system:kube-proxy"
_GROUPS = {ADMINISTRATOR: "system:masters"}
NODE = "system:node:"
_ALONE = {"leader-elect": "false", "bind-address": "127.0.0.1"}
"""Options of those of which there might be several."""


class ControlPlane:
    """The running control plane.

    :param nodes: the names of the nodes that may register.
    """

    def __init__(self, host: Host, programs: Programs, nodes: Iterable[str]) -> None:
        self.host = host
        self.url = f"https://{host.address(4)}:{PORT}"
        self._programs = programs
        self._certificates = host.directory / "certificates"
        users = [ADMINISTRATOR, CONTROLLERS, SCHEDULER, PROXY]
        users += [NODE + name for name in nodes]
        self._tokens = {user: secrets.token_hex(16) for user in users}
        self._token_file = host.write_file("tokens.csv", self._token_table())
        self._account_key = host.write_file("accounts.key", _new_key())
        self._etcd = self._start_etcd()
        self.api_server = self._start_api_server()
        self.api = Api(host, self.url, self.ca, self._tokens[ADMINISTRATOR])
        self._wait_until_ready()
        self._controllers = self._start_controllers()
        self._start_scheduler()

    @property
    def ca(self) -> Path:
        """The certificate that the API server's is signed with."""
        return self._certificates / "apiserver.crt"

    def kubeconfig(self, user: str) -> str:
        """Return the text of a file by which a program is this user."""
        authority = base64.b64encode(self.ca.read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        # Kubernetes reads JSON wherever it reads YAML.
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "lab", "cluster": cluster}],
                "users": [{"name": user, "user": {"token": self._tokens[user]}}],
                "contexts": [
                    {"name": "lab", "context": {"cluster": "lab", "user": user}}
                ],
                "current-context": "lab",
            }
        )

    def stop_api_server(self) -> None:
        """Let nobody reach the cluster's state any more; nodes and pods go on."""
        self.api_server.stop()

    def restart_api_server(self) -> None:
        """Start the API server again, with the state of before."""
        self.api_server = self._start_api_server()
        self._wait_until_ready()

    def restart_controllers(self) -> None:
        """Have the controllers forget what they have not written down."""
        self._controllers.stop()
        self._controllers = self._start_controllers()

    def _token_table(self) -> str:
        """Return the lines of ``--token-auth-file``: token, user, id, groups."""
        lines = []
        for user, token in self._tokens.items():
            group = "system:nodes" if user.startswith(NODE) else _GROUPS.get(user, "")
            lines.append(f'{token},{user},{user},"{group}"')
        return "\n".join(lines) + "\n"

    def _start_etcd(self) -> Process:
        # What is lost with this machine need not be on its disk.
        options = ["--data-dir", str(self.host.directory / "etcd"), "--unsafe-no-fsync"]
        options += ["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]
        options += ["--listen-peer-urls", ETCD_PEERS]
        options += ["--initial-advertise-peer-urls", ETCD_PEERS]
        options += ["--initial-cluster", f"default={ETCD_PEERS}"]
        return self.host.popen([self._programs.etcd, *options], log="etcd.log")

    def _start_api_server(self) -> Process:
        address = self.host.address(4)
        options = {
            "etcd-servers": ETCD,
            "bind-address": address,
            "advertise-address": address,
            "secure-port": str(PORT),
            "cert-dir": str(self._certificates),
            "token-auth-file": str(self._token_file),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "service-cluster-ip-range": ",".join(SERVICE_NETWORKS),
            "service-account-issuer": self.url,
            "service-account-key-file": str(self._account_key),
            "service-account-signing-key-file": str(self._account_key),
            "allow-privileged": "true",
            "kubelet-preferred-address-types": "InternalIP",
        }
        return self._start("apiserver", options)

    def _start_controllers(self) -> Process:
        """Start what gives nodes their networks for pods, among much else."""
        config = self.host.write_file("controllers.json", self.kubeconfig(CONTROLLERS))
        options = {
            "kubeconfig": str(config),
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(self._account_key),
            "root-ca-file": str(self.ca),
            "allocate-node-cidrs": "true",
            "cluster-cidr": ",".join(POD_NETWORKS),
            "service-cluster-ip-range": ",".join(SERVICE_NETWORKS),
        }
        return self._start("controller-manager", _ALONE | options)

    def _start_scheduler(self) -> None:
        config = self.host.write_file("scheduler.json", self.kubeconfig(SCHEDULER))
        self._start("scheduler", _ALONE | {"kubeconfig": str(config)})

    def _start(self, part: str, options: dict[str, str]) -> Process:
        words = [f"--{name}={value}" for name, value in options.items()]
        command = [str(self._programs.kube), part, *words]
        return self.host.popen(command, log=f"{part}.log")

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            if self.api_server.returncode is not None:
                raise CommandFailed(
                    f"The API server has ended, see {self.api_server.log_path}."
                )
            return self.ca.exists() and self.api.get("/readyz") == {}

        self.api.wait_until(is_ready, "the API server is ready")


def _new_key() -> str:
    """Return a private key, by which the tokens of service accounts are signed."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
