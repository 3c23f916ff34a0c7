"""Pods on two nodes, without a cluster: each node has a network for its pods.

::

    pod-a1 --.                                                  .-- pod-b1
              cni0 - node-a - router --internet-- router - node-b - cni0
    pod-a2 --'                                                  '-- pod-b2
    10.244.1.0/24                                          10.244.2.0/24

Each node announces its pods' network to the mesh. Traffic between pods on
two nodes is encrypted and keeps its addresses; on one node the mesh does not touch it.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.lan import Lan
from netlab.machine import FORWARDING, Host
from netlab.mesh import Mesh, MeshNode
from netlab.presets import PORT_RESTRICTED
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way
from scenarios.ciphertext import PATIENCE, SECRET

BRIDGE = "cni0"
INTERFACE = "meshwg0"
PODS = {"a": "10.244.1.0/24", "b": "10.244.2.0/24"}
CGNAT = "100.64.0.0/10"
"""The range of the mesh's own addresses."""
DATAGRAMS = 20
UNTOUCHED_TTL = 64


@dataclass(slots=True)
class TwoNodes:
    """Two nodes and their pods, by name."""

    a: MeshNode
    b: MeshNode
    pods: dict[str, Host]


def build(lab: Lab) -> TwoNodes:
    mesh = Mesh(lab, approve_routes=list(PODS.values()))
    pods: dict[str, Host] = {}
    nodes: dict[Host, tuple[str, ...]] = {}
    for letter, network in PODS.items():
        router = lab.add_router(f"router-{letter}", PORT_RESTRICTED)
        node = lab.add_host(f"node-{letter}", router)
        node.namespace.set_sysctl(FORWARDING)
        bridge = Lan(node, BRIDGE, [network], routed=True)
        for number in (1, 2):
            name = f"pod-{letter}{number}"
            pods[name] = lab.add_host(name, bridge)
        # Pods see who they talk to.
        nodes[node] = ("--route", f"{network},snat=no")
    mesh.join_all(nodes)
    return TwoNodes(mesh.nodes["node-a"], mesh.nodes["node-b"], pods)


def verify(cluster: TwoNodes, narrator: Narrator) -> None:
    pods, node = cluster.pods, cluster.a
    a1, a2, b1 = pods["pod-a1"], pods["pod-a2"], pods["pod-b1"]
    with narrator.step("pods on two nodes reach each other through their nodes"):
        a1.ping(b1.address())
        pods["pod-b2"].ping(a2.address())
    with narrator.step("the path between the nodes is direct, around the tunnel"):
        node.host.wait_until(
            lambda: node.peer(cluster.b)["path"]["kind"] == "direct",
            "its path to node-b is direct",
        )
        expect_outside(node.peer(cluster.b)["path"]["remote"])
    with narrator.step(f"{DATAGRAMS} datagrams arrive from the pod's own address"):
        outside = node.host.capture("eth0")
        deliver(a1, b1)
    with narrator.step("outside of the nodes there was no plaintext"):
        if any(SECRET in frame for frame in outside.packets()):
            raise ScenarioFailed(f"The secret is in the clear in {outside.path}.")
    with narrator.step("on one node pods talk without the mesh"):
        expect_untouched(node.host, a1, a2)
    with narrator.step(
        "while node-b is down, nothing for its pods leaves in the clear"
    ):
        cluster.b.stop()
        expect_no_leak(node.host, a1, b1)
    with narrator.step("a node that leaves takes its routes with it"):
        node.stop()
        if PODS["b"] in node.host.run(["ip", "route"]).stdout:
            raise ScenarioFailed(f"node-a still has a route to {PODS['b']}.")


def expect_outside(remote: str) -> None:
    """Check that a path leads through the internet, not through its own tunnel."""
    address = ip_address(remote.rpartition(":")[0].strip("[]"))
    if any(address in ip_network(inside) for inside in (*PODS.values(), CGNAT)):
        raise ScenarioFailed(f"The tunnel runs through itself, to {remote}.")


def deliver(sender: Host, receiver: Host) -> None:
    """Send the secret from pod to pod; it must arrive from the sender's address."""
    source = sender.udp_socket(sender.address())
    target = receiver.udp_socket(receiver.address())
    target.settimeout(PATIENCE)
    for number in range(DATAGRAMS):
        source.sendto(SECRET, target.getsockname())
        try:
            message, seen = target.recvfrom(2048)
        except TimeoutError:
            raise ScenarioFailed(f"Datagram {number} did not arrive.") from None
        if (message, seen) != (SECRET, source.getsockname()):
            raise ScenarioFailed(f"{message!r} arrived from {seen}.")


def expect_untouched(node: Host, one: Host, other: Host) -> None:
    """Check that two pods of one node use its bridge and nothing else."""
    tunnel = node.capture(INTERFACE, f"host {one.address()}")
    answer = one.run(["ping", "-n", "-c", "1", "-W", "5", other.address()]).stdout
    deliver(one, other)
    hops = re.search(r"ttl=(\d+)", answer)
    if hops is None or int(hops.group(1)) != UNTOUCHED_TTL:
        raise ScenarioFailed(f"Something routed between two pods: {answer}")
    if tunnel.packets():
        raise ScenarioFailed(
            f"The traffic of two pods of one node is in {tunnel.path}."
        )


def expect_no_leak(node: Host, one: Host, other: Host) -> None:
    """Check that what cannot be delivered is not sent outside of the tunnel."""
    outside = node.capture("eth0")
    source = one.udp_socket(one.address())
    for _ in range(DATAGRAMS):
        source.sendto(SECRET, (other.address(), source.getsockname()[1]))
    if any(SECRET in frame for frame in outside.packets()):
        raise ScenarioFailed(f"The secret is in {outside.path}, in the clear.")


KUBERNETES = Scenario(
    "kubernetes",
    "Pod to pod, across nodes and on one",
    build,
    verify,
    (Way(("node-a", "node-b"), "direct"),),
)
