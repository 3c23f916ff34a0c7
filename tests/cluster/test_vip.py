"""A floating address is where the service works, whatever happens to its holder."""

import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from netlab.kubernetes.agents import NAMESPACE
from netlab.kubernetes.api import Json
from netlab.kubernetes.cluster import Cluster, daemon_set, is_running
from netlab.kubernetes.rootfs import BOX
from netlab.machine import Host

pytestmark = pytest.mark.kubernetes

ADDRESS = "10.50.0.1"
PORT = 8081
HOLDERS = ("home", "office")
VISITOR = "mobile"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/meshwg-vip"
LABEL = "app.kubernetes.io/name=meshwg-vip"
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}
ANSWER = 0.5
"""Seconds after which a request is given up."""
PAUSE = 0.05
"""Seconds between two requests."""


class Visits:
    """Requests to the address, all the time, from one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._over = threading.Event()
        self._last = time.monotonic()
        self._longest = 0.0

    def __enter__(self) -> "Visits":
        self._thread = threading.Thread(target=self._host.call, args=(self._visit,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def longest(self) -> float:
        """Return the longest time without an answer so far, and forget it."""
        found, self._longest = self._longest, 0.0
        return found

    def _visit(self) -> None:
        self._last = time.monotonic()
        while not self._over.wait(PAUSE):
            if is_answered():
                now = time.monotonic()
                self._longest = max(self._longest, now - self._last)
                self._last = now


@pytest.fixture
def vip(cluster: Cluster) -> Iterator[str]:
    """A service on two nodes, and the program that moves the address between them."""
    for name in HOLDERS:
        mark(cluster, name, CONTROL_PLANE)
        cluster.agents.approve(name, f"{ADDRESS}/32")
    check = ("--vip-check", f"tcp://127.0.0.1:{PORT}")
    objects = cluster.agents.manifest("--vip", ADDRESS, *check)
    ours = [each for each in objects if each["metadata"]["name"] == "meshwg-vip"]
    cluster.api.apply([service(), *ours])
    wait_for_candidates(cluster)
    cluster.api.wait_until(lambda: holder(cluster) != "", "somebody has the address")
    visitor = cluster.workers[VISITOR].host
    visitor.wait_until(lambda: visitor.call(is_answered), "the address answers")
    yield ADDRESS
    for name in HOLDERS:
        mark(cluster, name, dict.fromkeys(CONTROL_PLANE))


def test_the_address_moves_when_its_holder_is_killed_or_stops(
    cluster: Cluster, vip: str, record_property: Any
) -> None:
    visitor = cluster.workers[VISITOR].host
    with Visits(visitor) as visits:
        for what, politely in (("killed", False), ("stopped", True)):
            before = holder(cluster)
            visits.longest()
            leave(cluster, before, politely=politely)
            has_left = partial(is_elsewhere, cluster, before)
            cluster.api.wait_until(has_left, f"the address has left {before}")
            visitor.wait_until(lambda: visitor.call(is_answered), "it answers")
            time.sleep(1.0)
            gap = visits.longest()
            text = f"  {'holder of the address ' + what:28} {'from ' + VISITOR:16}"
            record_property("table", f"{text} {gap:.2f} s without an answer")
            mark(cluster, before, CONTROL_PLANE)
            wait_for_candidates(cluster)


def leave(cluster: Cluster, name: str, *, politely: bool) -> None:
    """Let the program of a node end: by SIGTERM, or for good without a word."""
    pod = next(
        each
        for each in cluster.objects(LABEL, NAMESPACE)
        if each["spec"]["nodeName"] == name
    )
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}"
    if not politely:
        cluster.workers[name].kill_containers(pod["metadata"]["uid"])
    # It shall not be the one that takes the address again.
    mark(cluster, name, dict.fromkeys(CONTROL_PLANE))
    cluster.api.delete(path)


def mark(cluster: Cluster, name: str, labels: Mapping[str, str | None]) -> None:
    """Set labels of a node, or remove those that are ``None``."""
    change = {"metadata": {"labels": labels}}
    cluster.api.merge(f"/api/v1/nodes/{name}", change)


def wait_for_candidates(cluster: Cluster) -> None:
    """Wait until the program runs on all nodes that may have the address."""

    def running() -> int:
        return sum(map(is_running, cluster.objects(LABEL, NAMESPACE)))

    cluster.api.wait_until(
        lambda: running() == len(HOLDERS), "all may have the address"
    )


def holder(cluster: Cluster) -> str:
    """Return which node has the address, empty if none."""
    lease: Json = cluster.api.get(LEASE)
    identity: str = lease["spec"].get("holderIdentity") or ""
    return next((name for name in HOLDERS if name in identity), "")


def is_elsewhere(cluster: Cluster, name: str) -> bool:
    """Tell whether another node than this one has the address."""
    return holder(cluster) not in ("", name)


def service() -> Json:
    """Return a web server in the nodes' own network."""
    command = ["/bin/httpd", "-f", "-p", str(PORT), "-h", "/etc"]
    wanted = daemon_set("front", command, BOX)
    wanted["spec"]["template"]["spec"]["hostNetwork"] = True
    return wanted


def is_answered() -> bool:
    try:
        url = f"http://{ADDRESS}:{PORT}/passwd"
        with urllib.request.urlopen(url, timeout=ANSWER) as response:
            return bool(response.read())
    except OSError:
        return False
