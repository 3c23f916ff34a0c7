"""Agents of two nodes behind NATs, with pods on their bridges, as programs.

The API server is a stand-in; pods are namespaces on the bridge that the network list
names. That a real cluster has no other view of it, tests of the cluster show.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshwg.keys import format_key
from meshwg.kubernetes.networklist import BRIDGE, FILE
from meshwg.wire.token import JoinToken
from netlab.lab import Lab
from netlab.lan import Lan
from netlab.machine import FORWARDING, Host
from netlab.presets import PORT_RESTRICTED
from netlab.process import Process
from tests.coordinator.kubernetes.issuer import ISSUER, Issuer, claims_of
from tests.interop.meshes import PATIENCE, Coordinator
from tests.kubernetes.apiserver import FakeApiServer
from tests.kubernetes.cluster import node_object

pytestmark = pytest.mark.netns

PROGRAM = (sys.executable, "-c", "from meshwg.cli.kubernetes import main; main()")
ECHOES = "icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-echoreply"
"""What pods send; routers answer checks that nobody waits for with errors."""
PODS = {"n1": "10.244.1.0/24", "n2": "10.244.2.0/24"}


def test_pods_of_two_nodes_behind_nats_reach_each_other_in_ciphertext_only(
    lab: Lab,
) -> None:
    with a_cluster(lab) as cluster:
        one, two = cluster.node("n1"), cluster.node("n2")
        for node in (one, two):
            node.wait_for_network()
        first, second, far = *one.pods, two.pods[0]
        outside = one.host.capture("eth0", ECHOES)
        inside = one.host.capture("meshwg0", ECHOES)
        first.ping(far.address(), PATIENCE)
        assert outside.packets() == []
        crossed = len(inside.packets())
        assert crossed >= 2
        first.ping(second.address(), PATIENCE)
        assert len(inside.packets()) == crossed

        one.kill()
        first.ping(second.address(), PATIENCE)
        one.start()
        first.ping(far.address(), PATIENCE)


class ClusterMachine:
    """A node of the cluster: a host with an agent, and two pods."""

    def __init__(self, lab: Lab, name: str, options: list[str], issuer: Issuer) -> None:
        self.host = lab.add_host(
            name, lab.add_router(f"router-{name}", PORT_RESTRICTED)
        )
        self.host.namespace.set_sysctl(FORWARDING)
        bridge = Lan(self.host, BRIDGE, [PODS[name]], routed=True)
        self.pods: list[Host] = [
            lab.add_host(f"pod-{name}-{number}", bridge) for number in (1, 2)
        ]
        self._lists = self.host.directory / "net.d"
        now = time.time()
        claims = claims_of(name, f"u-{name}")
        token = issuer.sign({**claims, "exp": now + 3600, "nbf": now - 1})
        self._options = [
            *options,
            *("--node-name", name, "--cni-dir", str(self._lists)),
            *("--state-dir", str(self.host.directory / "state")),
            *("--token-file", str(self.host.write_file("token", token))),
        ]
        self._process: Process | None = None
        self.start()

    def start(self) -> None:
        """Start the agent."""
        self._process = self.host.popen([*PROGRAM, "agent", *self._options])

    def stop(self) -> None:
        """End the agent in good order."""
        assert self._process is not None
        self._process.stop()

    def kill(self) -> None:
        """Let the agent die at once."""
        assert self._process is not None
        self._process.kill()

    def wait_for_network(self) -> None:
        """Wait until the network list is there."""
        self.host.wait_until(
            lambda: (self._lists / FILE).exists(), "there is a network list", PATIENCE
        )
        written = json.loads((self._lists / FILE).read_text())
        assert written["plugins"][0]["bridge"] == BRIDGE


class AgentCluster:
    """An API server and a coordinator on the internet, and nodes."""

    def __init__(self, lab: Lab, api: FakeApiServer, directory: Path) -> None:
        self._lab = lab
        self._machines: list[ClusterMachine] = []
        self._issuer = Issuer()
        api.jwks = self._issuer.jwks
        for name, network in PODS.items():
            api.put(node_object(network, name=name, uid=f"u-{name}"))
        coordinator = Coordinator.on_the_internet(
            lab,
            *("--kubernetes-issuer", ISSUER, "--kubernetes-api", api.url),
            *("--kubernetes-ca", str(api.certificate)),
            *("--kubernetes-token-file", str(api.token_file)),
        )
        known = JoinToken.parse(coordinator.token())
        self._options = [
            *("--coordinator", known.url),
            *("--coordinator-key", format_key(known.coordinator_key)),
            *("--kubeconfig", str(api.kubeconfig(directory))),
        ]

    def node(self, name: str) -> ClusterMachine:
        """Have one more node."""
        machine = ClusterMachine(self._lab, name, self._options, self._issuer)
        self._machines.append(machine)
        return machine

    def stop(self) -> None:
        """End all agents."""
        for machine in self._machines:
            machine.stop()


@contextmanager
def a_cluster(lab: Lab) -> Iterator[AgentCluster]:
    """Have an API server on the internet for as long as the block lasts."""
    cloud = lab.add_host("cloud", lab.internet)
    api = FakeApiServer(lab.directory, cloud.address())
    is_ready, ends = threading.Event(), threading.Event()

    async def serve() -> None:
        async with api:
            is_ready.set()
            await asyncio.to_thread(ends.wait)

    thread = threading.Thread(target=lambda: cloud.call(lambda: asyncio.run(serve())))
    thread.start()
    try:
        assert is_ready.wait(PATIENCE)
        cluster = AgentCluster(lab, api, lab.directory)
        yield cluster
        cluster.stop()
    finally:
        ends.set()
        thread.join()
