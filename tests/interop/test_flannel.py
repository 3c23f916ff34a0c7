"""A node of the mesh beside one that is plain WireGuard, as flannel has it.

flannel itself programs the kernel's WireGuard; here it is wireguard-go, set by ``wg``
with what flannel would take from the annotations of the agent's node.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshwg.kubernetes.flannel import MEMBER
from meshwg.runtime.kubernetes.flannelside import FlannelSettings
from meshwg.runtime.kubernetes.settings import AgentSettings
from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import WIREGUARD_GO, Config, KeyPair, Peer, Tunnel, make_keys
from tests.kubernetes.cluster import PODS, node_object
from tests.runtime.kubernetes.test_process import Bench, play

pytestmark = pytest.mark.netns

THEIR_PODS = "10.244.2.0/24"
GATEWAY, POD, THEIR_POD = "10.244.1.1", "10.244.1.9", "10.244.2.9"
PORT = 51820
PREFIX = "flannel.alpha.coreos.com/"
BRIDGE = "meshwg-pods"

Annotations = dict[str, str]


def test_pods_reach_each_other_while_a_cluster_moves(lab: Lab, tmp_path: Path) -> None:
    cable = lab.add_switch("cable", "192.0.2.0/24")
    host, other = lab.add_host("n1", cable), lab.add_host("n2", cable)
    keys = make_keys(other)

    def with_flannel(settings: AgentSettings) -> AgentSettings:
        side = FlannelSettings(addresses={4: host.address(4)})
        node = replace(settings.node, listen_port=PORT)
        return replace(settings, flannel=side, node=node)

    async def story(bench: Bench) -> None:
        bench.change = with_flannel
        bench.api.put(node_object(PODS))
        bench.api.put(flannel_node(other, keys))
        async with bench.agent() as agent:
            await bench.until(lambda: MEMBER in annotations(bench))
            await outside(add_pod, host, BRIDGE, POD)
            await outside(add_pod, other, "pods", THEIR_POD)
            await outside(follow, other, keys, annotations(bench))

            # Either side may begin, and the machine itself reaches pods, too.
            await outside(ping, other, THEIR_POD, POD)
            await outside(ping, host, POD, THEIR_POD)
            await outside(ping, host, "", THEIR_POD)

            assert agent._host is not None
            peers = agent._host.node.peers.values()
            assert [each.entry.name for each in peers] == ["flannel-n2"]
            bench.api.remove("n2")
            await bench.until(lambda: not peers)

    with ThreadPoolExecutor(1) as pool:
        # Its thread begins here, where all machines are seen: the agent runs in one.
        pool.submit(int).result()

        async def outside(work: Callable[..., object], *arguments: object) -> None:
            await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

        play(lab, tmp_path, story, host)


def annotations(bench: Bench) -> Annotations:
    """Return what the agent says of its node."""
    said: Annotations = bench.api.nodes["n1"]["metadata"].get("annotations", {})
    return said


def flannel_node(host: Host, keys: KeyPair) -> dict[str, Any]:
    """Return the Node object of a node that runs flannel."""
    raw = node_object(THEIR_PODS, name="n2")
    raw["metadata"]["annotations"] = {
        f"{PREFIX}backend-data": json.dumps({"PublicKey": keys.public}),
        f"{PREFIX}backend-type": "wireguard",
        f"{PREFIX}kube-subnet-manager": "true",
        f"{PREFIX}public-ip": host.address(4),
    }
    return raw


def follow(host: Host, keys: KeyPair, said: Annotations) -> Tunnel:
    """Do on a flannel node what flannel does when it sees annotations of another."""
    assert said[f"{PREFIX}kube-subnet-manager"] == "true"
    assert said[f"{PREFIX}backend-type"] == "wireguard"
    key = json.loads(said[f"{PREFIX}backend-data"])["PublicKey"]
    peer = Peer(key, PODS, f"{said[f'{PREFIX}public-ip']}:{PORT}")
    config = Config(keys, "10.244.2.0/32", peer, PORT)
    return Tunnel(host, "flannel-wg", config, WIREGUARD_GO)


def add_pod(host: Host, interface: str, address: str) -> None:
    """Have an address of a pod on a machine, where the bridge of its pods would be."""
    host.run(["ip", "link", "add", interface, "type", "bridge"])
    if interface == BRIDGE:
        host.run(["ip", "address", "add", f"{GATEWAY}/24", "dev", interface])
    host.run(["ip", "address", "add", f"{address}/32", "dev", interface])
    host.run(["ip", "link", "set", interface, "up"])


def ping(host: Host, source: str, destination: str) -> None:
    """Ping until there is an answer, which a machine that is busy may take long for."""
    options = ["-I", source] if source else []
    command = ["ping", "-n", "-c", "1", "-w", "40", *options, destination]
    host.run(command, timeout=60)
