"""Three nodes behind three kinds of NAT, and a control plane in the public internet.

::

    cloud         home router - home        what most routers do
      |          /
    internet ---- office router - office    symmetric: no port can be known before
                 \\
                  carrier - router - mobile  two NATs, one behind the other
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from netlab.errors import LabError
from netlab.kubernetes import cgroups, programs
from netlab.kubernetes.agents import (
    AGENT,
    LABEL,
    NAMESPACE,
    Agents,
    new_token,
    status,
)
from netlab.kubernetes.api import ApiError, Json
from netlab.kubernetes.controlplane import ControlPlane
from netlab.kubernetes.rootfs import write_box, write_dns, write_meshwg
from netlab.kubernetes.worker import Worker
from netlab.lab import Lab
from netlab.machine import Guest
from netlab.presets import DOUBLE_CONE, OFFICE, PORT_RESTRICTED, Preset

KINDS = {"home": PORT_RESTRICTED, "office": OFFICE, "mobile": DOUBLE_CONE}
PODS = "/api/v1/namespaces/default/pods"
"""The kinds of NAT that the nodes are behind."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A running pod."""

    name: str
    uid: str
    worker: Worker
    host: Guest
    """Its network, in which programs of this machine can be run."""


class Cluster:
    """The running cluster; its nodes become ready once they have a network for pods.

    :param kinds: the names of the nodes, and what each is behind.
    """

    def __init__(self, lab: Lab, kinds: Mapping[str, Preset] = KINDS) -> None:
        found = programs.find()
        cgroups.clean()
        self.lab = lab
        self._numbers = itertools.count(1)
        self._known: dict[str, Pod] = {}
        cloud = lab.add_host("cloud", lab.internet, count4=2, ipv6=False)
        hosts = [
            lab.add_host(name, lab.add_access(f"{name}-router", kind))
            for name, kind in kinds.items()
        ]
        self.plane = ControlPlane(cloud, found, kinds)
        self.api = self.plane.api
        self.agents = Agents(lab, self.plane)
        self.workers = {host.name: Worker(host, self.plane, found) for host in hosts}
        images = [
            write_box(lab.directory, found.busybox),
            write_dns(lab.directory, found.busybox),
            write_meshwg(lab.directory, found.busybox),
        ]
        for worker in self.workers.values():
            lab.defer(worker.remove)
        self._on_all(lambda worker: self._start(worker, images))
        self.agents.start()

    def node(self, name: str) -> Json:
        """Return the Node object of this name."""
        return self.api.get(f"/api/v1/nodes/{name}")

    def is_ready(self, name: str) -> bool:
        """Tell whether the API server thinks that a node can take pods."""
        conditions = self.node(name)["status"].get("conditions", [])
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def wait_until_ready(self) -> None:
        """Wait until all nodes can take pods."""
        for name in self.workers:
            self.api.wait_until(partial(self.is_ready, name), f"{name} is ready")

    def objects(self, label: str, namespace: str = "default") -> list[Json]:
        """Return the pods with a label, such as ``app=box``."""
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={label}"
        items: list[Json] = self.api.get(path)["items"]
        return items

    def pods(self, label: str, count: int, namespace: str = "default") -> list[Pod]:
        """Wait until so many pods with a label run, and return them."""

        def running() -> list[Json]:
            found = self.objects(label, namespace)
            return [each for each in found if is_running(each)]

        self.api.wait_until(
            lambda: len(running()) == count, f"{count} pods with {label} run"
        )
        return [self._enter(each) for each in running()]

    def pods_by_node(self, label: str) -> dict[str, Guest]:
        """Wait until a pod with a label runs on each node; return their networks."""
        found = self.pods(label, len(self.workers))
        return {pod.worker.name: pod.host for pod in found}

    def direct_path(self, name: str, other: str) -> str:
        """Wait until a node has a direct path to another, and return its far end."""

        def path() -> Json:
            peers = self.status(name)["peers"]
            found: Json = next(p["path"] for p in peers if p["name"] == other)
            return found

        self.api.wait_until(
            lambda: path()["kind"] == "direct", f"{name} has a direct path to {other}"
        )
        remote: str = path()["remote"]
        return remote

    def mesh_address(self, name: str, version: int = 4) -> str:
        """Return the address of a node in the mesh."""
        found: list[str] = self.status(name)["self"]["addresses"]
        return next(each for each in found if (":" in each) is (version == 6))

    def status(self, name: str) -> Json:
        """Return what ``meshwg status --json`` prints on a node."""
        return status(self.workers[name].host)

    def mesh_addresses(self) -> list[str]:
        """Return the addresses of all nodes in the mesh, of both versions."""
        known = [self.status(name)["self"]["addresses"] for name in self.workers]
        return [address for addresses in known for address in addresses]

    def pod_networks(self, name: str) -> list[str]:
        """Return the PodCIDRs of a node, none if it has not got them yet."""
        found: list[str] = self.node(name)["spec"].get("podCIDRs", [])
        return found

    def remove(self, name: str) -> None:
        """Remove a node from the cluster, whose machine runs on without a kubelet."""
        self.workers[name].kill_kubelet()
        self.api.delete(f"/api/v1/nodes/{name}")

    def bring_back(self, name: str) -> None:
        """Let a node register again, and wait until it can take pods.

        Pods of before have addresses of the network that it had then: as whoever
        drains a node does, this removes them.
        """
        pods = self.api.get(f"{PODS}?fieldSelector=spec.nodeName={name}")["items"]
        for each in pods:
            self.api.delete(f"{PODS}/{each['metadata']['name']}?gracePeriodSeconds=0")
        self.workers[name].start_kubelet()
        self.api.wait_until(partial(self.is_ready, name), f"{name} is ready")
        self.workers[name].start_proxy()

    def events(self, name: str) -> list[str]:
        """Return the reasons of the Events on a Node object."""
        chosen = f"involvedObject.kind=Node,involvedObject.name={name}"
        path = f"/api/v1/namespaces/default/events?fieldSelector={chosen}"
        return [each["reason"] for each in self.api.get(path)["items"]]

    def kill_agent(self, name: str) -> None:
        """Kill the agent of a node, and wait until the kubelet has started another."""
        pod = self._agent(name)
        before = _restarts(pod)
        self.workers[name].kill_containers(pod["metadata"]["uid"])

        def is_new() -> bool:
            found = self._agent(name)
            return is_running(found) and _restarts(found) > before

        self.api.wait_until(is_new, f"the agent of {name} has been started again")

    def agent_token(self, name: str) -> str:
        """Return a token of the agent's account, bound to the pod on a node."""
        pod = self._agent(name)["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod"}
        bound |= {"name": pod["name"], "uid": pod["uid"]}
        return new_token(self.api, AGENT, boundObjectRef=bound)

    def _agent(self, name: str) -> Json:
        """Return the pod of a node's agent.

        :raises ApiError: if there is none.
        """
        for pod in self.objects(LABEL, NAMESPACE):
            if pod["spec"].get("nodeName") == name:
                return pod
        raise ApiError(f"There is no agent on {name}.")

    def _start(self, worker: Worker, images: Iterable[Path]) -> None:
        worker.start(images)
        worker.start_kubelet()
        worker.start_proxy()

    def _enter(self, pod: Json) -> Pod:
        uid, status = pod["metadata"]["uid"], pod["status"]
        if uid not in self._known:
            worker = self.workers[pod["spec"]["nodeName"]]
            name = f"pod-{next(self._numbers)}"
            addresses = [each["ip"] for each in status["podIPs"]]
            host = self.lab.adopt(name, worker.network_of(uid), addresses)
            self._known[uid] = Pod(pod["metadata"]["name"], uid, worker, host)
        return self._known[uid]

    def _on_all(self, action: Callable[[Worker], None]) -> None:
        with ThreadPoolExecutor(len(self.workers)) as pool:
            list(pool.map(action, self.workers.values()))


def is_running(pod: Json) -> bool:
    """Tell whether all containers of a pod run, and it is to stay."""
    statuses = pod["status"].get("containerStatuses", [])
    return (
        "deletionTimestamp" not in pod["metadata"]
        and pod["status"].get("podIPs") is not None
        and bool(statuses)
        and all(status.get("ready") for status in statuses)
    )


def daemon_set(name: str, command: list[str], image: str) -> Json:
    """Return a DaemonSet of one container, labelled with its name."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                },
            },
        },
    }


def unavailable() -> str | None:
    """Return why there can be no cluster on this machine, ``None`` if there can."""
    try:
        programs.find()
    except LabError as error:
        return str(error)
    return None


def _restarts(pod: Json) -> int:
    statuses = pod["status"].get("containerStatuses", [])
    return sum(status["restartCount"] for status in statuses)
