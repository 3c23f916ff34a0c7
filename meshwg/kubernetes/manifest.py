"""The objects that make a mesh the network of a cluster, for ``kubectl apply``.

What each account may do is as little as its program needs, see :func:`_agent_rights`.
Two of the rights Kubernetes cannot narrow by itself to the node that a pod runs on; an
admission policy does, by the name of the node in the pod's own token.
"""

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from meshwg.kubernetes.floatingaddress import IPAddress

AGENT, COORDINATOR, VIP = "meshwg-agent", "meshwg-coordinator", "meshwg-vip"
"""Names of accounts, and of what runs by them."""
SETTINGS: Final = "meshwg"
"""The ConfigMap of the agents."""
EVENTS: Final = "default"
"""The namespace of Events on nodes."""
TOKEN_SECONDS: Final = 3600
"""For which the token is good that an agent shows; kubelet renews it."""
CONTROL_PORT, STUN_PORT = 8443, 3478
API_SERVER: Final = "https://kubernetes.default.svc"
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
CHECK: Final = "https://127.0.0.1:6443/livez"
LEASE: Final = ("kube-system", VIP)
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
NODE_NAME: Final = "authentication.kubernetes.io/node-name"
"""What the API server knows of a pod's token (Kubernetes 1.32)."""

Object = dict[str, Any]

_LABELS = "app.kubernetes.io/name"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class ManifestSettings:
    """What the administrator decides."""

    image: str
    url: str
    """Where nodes reach the coordinator."""
    coordinator_key: str = ""
    """Its public key; empty as long as it is not known: it has to run first."""
    namespace: str = "kube-system"
    has_coordinator: bool = True
    """Whether it is to run in this cluster."""
    coordinator_node: str = ""
    """On which node; empty for one of the control plane's."""
    issuer: str = ISSUER
    """Of service-account tokens, as the API server was told."""
    api_server: str = ""
    """Its URL, where services have no network yet; empty for that of the service."""
    flannel: bool = False
    """Whether some nodes still run flannel."""
    addresses: tuple[IPAddress, ...] = ()
    """Floating ones of the control plane."""
    check: str = CHECK
    """What has to work where these are."""
    lease: tuple[str, str] = LEASE
    """Namespace and name."""


def manifest(settings: ManifestSettings) -> list[Object]:
    """Return the objects in the order in which they are to be applied."""
    objects: list[Object] = []
    if settings.has_coordinator:
        objects += _coordinator(settings)
    if settings.coordinator_key:
        objects += [*_agent_rights(settings), _agent_settings(settings)]
        objects.append(_agent(settings))
        if settings.addresses:
            objects += [*_vip_rights(settings), _vip(settings)]
    return objects


# The coordinator.


def _coordinator(settings: ManifestSettings) -> list[Object]:
    return [
        _account(COORDINATOR, settings),
        # What a node has it reads from the Node object, and not from the node.
        *_cluster_role(COORDINATOR, [_rule("", ["nodes"], ["get"])], settings),
        {
            **_head("v1", "ConfigMap", COORDINATOR, settings.namespace),
            "data": {"coordinator.toml": _coordinator_file(settings)},
        },
        _coordinator_service(settings),
        _coordinator_deployment(settings),
    ]


def _coordinator_file(settings: ManifestSettings) -> str:
    parts = urlsplit(settings.url)
    where = {"listen": f"0.0.0.0:{_port(settings)}"}
    if _is_direct(settings):
        where["advertise"] = parts.hostname or ""
    else:
        where["url"] = settings.url
    cluster = {
        "kubernetes_issuer": settings.issuer,
        "kubernetes_api": settings.api_server or API_SERVER,
        "kubernetes_account": f"{settings.namespace}/{AGENT}",
    }
    lines = {**where, **cluster}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


def _port(settings: ManifestSettings) -> int:
    """Return where the coordinator listens."""
    return urlsplit(settings.url).port or 80 if _is_direct(settings) else CONTROL_PORT


def _is_direct(settings: ManifestSettings) -> bool:
    """Tell whether nodes come to the coordinator's own port, and to no proxy's."""
    parts = urlsplit(settings.url)
    return parts.scheme == "http" and not parts.path.strip("/")


def _coordinator_service(settings: ManifestSettings) -> Object:
    ports = [("control", "TCP", _port(settings))]
    ports += [(f"stun-{n}", "UDP", STUN_PORT + n - 1) for n in (1, 2)]
    return {
        **_head("v1", "Service", COORDINATOR, settings.namespace),
        "spec": {
            "selector": {_LABELS: COORDINATOR},
            "ports": [
                {"name": name, "protocol": protocol, "port": port}
                for name, protocol, port in ports
            ],
        },
    }


def _coordinator_deployment(settings: ManifestSettings) -> Object:
    """Return it: one, in its node's own network, since nodes have none before it."""
    where = {CONTROL_PLANE: ""}
    if settings.coordinator_node:
        where = {"kubernetes.io/hostname": settings.coordinator_node}
    volumes = {
        "settings": ("/etc/meshwg", {"configMap": {"name": COORDINATOR}}),
        "data": _host_path("/var/lib/meshwg-coordinator", "DirectoryOrCreate"),
        "scratch": ("/tmp", {"emptyDir": {}}),
    }
    container = {
        **_container(COORDINATOR, settings, volumes),
        "command": ["meshwg-coordinator", "serve"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "readinessProbe": {
            "tcpSocket": {"port": _port(settings)},
            "periodSeconds": 5,
        },
    }
    pod = _pod(COORDINATOR, container, volumes)
    pod["spec"]["nodeSelector"] = where
    return {
        **_head("apps/v1", "Deployment", COORDINATOR, settings.namespace),
        "spec": {
            "replicas": 1,
            # Two would have one key, and one database.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {_LABELS: COORDINATOR}},
            "template": pod,
        },
    }


# The agents.


def _agent_rights(settings: ManifestSettings) -> list[Object]:
    return [
        _account(AGENT, settings),
        *_cluster_role(
            AGENT,
            [
                # The own one; with flannel, those that are still its own.
                _rule("", ["nodes"], ["get", "list", "watch"]),
                # The condition NetworkUnavailable; annotations for flannel.
                _rule("", ["nodes/status"], ["patch"]),
            ],
            settings,
        ),
        *_role(AGENT, EVENTS, [_rule("", ["events"], ["create"])], settings),
        *_own_node_only(settings),
    ]


def _own_node_only(settings: ManifestSettings) -> list[Object]:
    """Return what lets an agent change its own Node object and no other."""
    account = f"system:serviceaccount:{settings.namespace}:{AGENT}"
    said = f"request.userInfo.extra['{NODE_NAME}']"
    policy = {
        **_head("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", AGENT),
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE", "DELETE"],
                        "resources": ["nodes", "nodes/status"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "is-an-agent",
                    "expression": f"request.userInfo.username == '{account}'",
                }
            ],
            "validations": [
                {
                    "expression": (
                        f"'{NODE_NAME}' in request.userInfo.extra && "
                        f"{said}.exists_one(name, name == request.name)"
                    ),
                    "message": "an agent changes the Node object of its own node only",
                }
            ],
        },
    }
    binding = {
        **_head(
            "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", AGENT
        ),
        "spec": {"policyName": AGENT, "validationActions": ["Deny"]},
    }
    return [policy, binding]


def _agent_settings(settings: ManifestSettings) -> Object:
    data = {
        "MESHWG_COORDINATOR": settings.url,
        "MESHWG_COORDINATOR_KEY": settings.coordinator_key,
    }
    if settings.api_server:
        data["MESHWG_API_SERVER"] = settings.api_server
    if settings.flannel:
        data["MESHWG_FLANNEL"] = "yes"
    return {**_head("v1", "ConfigMap", SETTINGS, settings.namespace), "data": data}


def _agent(settings: ManifestSettings) -> Object:
    projected = {
        "sources": [
            {
                "serviceAccountToken": {
                    "audience": "meshwg",
                    "expirationSeconds": TOKEN_SECONDS,
                    "path": "token",
                }
            }
        ]
    }
    volumes = {
        "token": ("/var/run/secrets/meshwg", {"projected": projected}),
        "network-lists": _host_path("/etc/cni/net.d", "DirectoryOrCreate"),
        "state": _host_path("/var/lib/meshwg", "DirectoryOrCreate"),
        "run": _host_path("/run/meshwg", "DirectoryOrCreate"),
        "tun": _host_path("/dev/net/tun", "CharDevice"),
    }
    container = {
        **_container(AGENT, settings, volumes),
        "command": ["meshwg-k8s", "agent"],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": [_from_field("MESHWG_NODE_NAME", "spec.nodeName")],
        # It makes an interface and rules, and sets what is in /proc/sys.
        "securityContext": {"privileged": True},
    }
    pod = _pod(AGENT, container, volumes)
    pod["spec"]["priorityClassName"] = "system-node-critical"
    return _daemon_set(AGENT, pod, settings)


# Floating addresses.


def _vip_rights(settings: ManifestSettings) -> list[Object]:
    namespace, name = settings.lease
    group = "coordination.k8s.io"
    return [
        _account(VIP, settings),
        *_role(
            VIP,
            namespace,
            [
                {
                    **_rule(group, ["leases"], ["get", "update"]),
                    "resourceNames": [name],
                },
                # A name is not known before there is something of this name.
                _rule(group, ["leases"], ["create"]),
            ],
            settings,
        ),
    ]


def _vip(settings: ManifestSettings) -> Object:
    volumes = {"run": _host_path("/run/meshwg", "DirectoryOrCreate")}
    words = [f"--address={each}" for each in settings.addresses]
    words += [f"--lease={'/'.join(settings.lease)}", f"--check={settings.check}"]
    container = {
        **_container(VIP, settings, volumes),
        "command": ["meshwg-k8s", "vip", *words],
        "env": [_from_field("MESHWG_VIP_NAME", "spec.nodeName")],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
    }
    if settings.api_server:
        container["env"].append(
            {"name": "MESHWG_VIP_API_SERVER", "value": settings.api_server}
        )
    pod = _pod(VIP, container, volumes)
    pod["spec"]["priorityClassName"] = "system-node-critical"
    pod["spec"]["nodeSelector"] = {CONTROL_PLANE: ""}
    return _daemon_set(VIP, pod, settings)


# Parts.

Volume = tuple[str, Object]
"""Where it is in the container, and what it is."""


def _head(version: str, kind: str, name: str, namespace: str = "") -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {_LABELS: name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _account(name: str, settings: ManifestSettings) -> Object:
    return _head("v1", "ServiceAccount", name, settings.namespace)


def _rule(group: str, resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _cluster_role(
    name: str, rules: list[Object], settings: ManifestSettings
) -> list[Object]:
    version = f"{_RBAC}/v1"
    return [
        {**_head(version, "ClusterRole", name), "rules": rules},
        {
            **_head(version, "ClusterRoleBinding", name),
            **_bound("ClusterRole", name, settings),
        },
    ]


def _role(
    name: str, namespace: str, rules: list[Object], settings: ManifestSettings
) -> list[Object]:
    version = f"{_RBAC}/v1"
    return [
        {**_head(version, "Role", name, namespace), "rules": rules},
        {
            **_head(version, "RoleBinding", name, namespace),
            **_bound("Role", name, settings),
        },
    ]


def _bound(kind: str, name: str, settings: ManifestSettings) -> Object:
    subject = {"kind": "ServiceAccount", "name": name, "namespace": settings.namespace}
    return {
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [subject],
    }


def _host_path(path: str, kind: str) -> Volume:
    return path, {"hostPath": {"path": path, "type": kind}}


def _from_field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _container(
    name: str, settings: ManifestSettings, volumes: dict[str, Volume]
) -> Object:
    return {
        "name": name,
        "image": settings.image,
        "volumeMounts": [
            {"name": volume, "mountPath": path} for volume, (path, _) in volumes.items()
        ],
    }


def _pod(name: str, container: Object, volumes: dict[str, Volume]) -> Object:
    """Return a pod in its node's own network, which runs whatever the node lacks."""
    return {
        "metadata": {"labels": {_LABELS: name}},
        "spec": {
            "serviceAccountName": name,
            "hostNetwork": True,
            # Names of the cluster are had by the network that this pod makes.
            "dnsPolicy": "Default",
            "terminationGracePeriodSeconds": 10,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
            "volumes": [
                {"name": volume, **source} for volume, (_, source) in volumes.items()
            ],
        },
    }


def _daemon_set(name: str, pod: Object, settings: ManifestSettings) -> Object:
    return {
        **_head("apps/v1", "DaemonSet", name, settings.namespace),
        "spec": {
            "selector": {"matchLabels": {_LABELS: name}},
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 1},
            },
            "template": pod,
        },
    }
