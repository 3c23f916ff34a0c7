"""What a cluster of 500 nodes costs: routes, bytes and CPU for each change of one node.

In virtual time, with the machines that agents and coordinators run: a mesh of cluster
nodes, and one of them in the middle. A node has 30 pods, which are all in its one
PodCIDR: nothing here depends on how many there are, and that is shown, too.
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from typing import Any

from coordinator.kubernetes.identity import ClusterIdentity, ClusterProof
from coordinator.mesh.draft import Draft
from coordinator.mesh.ipam import Networks
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import Join
from coordinator.mesh.registry import Registry
from meshwg.control.client import ControlClient
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.node import InterfaceChanged, Node
from meshwg.schema import read
from meshwg.wire import control

NODES = 500
PODS = 30
SMALL = 50
"""Nodes of the cluster that the large one is compared with."""
CHANGES = 30
NETWORKS = Networks.parse("100.64.0.0/10", "fd00:1:2::/48")
PODS_OF_CLUSTER = list(ip_network("10.128.0.0/10").subnets(new_prefix=24))


def run() -> dict[str, Any]:
    """Measure, print, and return the figures."""
    figures = {}
    for count in (SMALL, NODES):
        figures[str(count)] = measured = _measure(count)
        print(
            f"{count} nodes: {measured['routes']} routes on each for "
            f"{(count - 1) * PODS} pods elsewhere; one change of one node: "
            f"{measured['bytes']:.0f} bytes to each other node, "
            f"{measured['node_ms']:.2f} ms CPU there, "
            f"{measured['coordinator_ms']:.2f} ms CPU at the coordinator"
        )
    return figures


def _measure(count: int) -> dict[str, Any]:
    cluster = Cluster()
    joins = [_timed(partial(cluster.join, number)) for number in range(count)]
    observer = cluster.observer()
    changes, deltas, reactions = [], [], []
    for change in range(CHANGES):
        # The cluster gives a node another PodCIDR, as when it is made anew.
        changes.append(_timed(partial(cluster.join, 1, NODES + change)))
        delta = cluster.delta()
        deltas.append(len(delta))
        reactions.append(_timed(partial(observer.take, delta)))
    return {
        "routes": len(observer.routes),
        "bytes": statistics.median(deltas),
        "join_ms": 1000 * statistics.median(joins[-SMALL:]),
        "coordinator_ms": 1000 * statistics.median(changes),
        "node_ms": 1000 * statistics.median(reactions),
    }


class Cluster:
    """What a coordinator knows of a cluster."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._registry = Registry(NETWORKS, "epoch")
        self._history = NetMapHistory(NETWORKS)
        self._keys: dict[int, str] = {}

    def join(self, number: int, pods: int | None = None) -> None:
        """Have a node join, or join again with other pods."""
        if number not in self._keys:
            key = PrivateKey.generate(self._random.randbytes)
            self._keys[number] = format_key(key.public_bytes)
        networks = (str(PODS_OF_CLUSTER[number if pods is None else pods]),)
        proof = ClusterProof(ClusterIdentity(f"n{number}", f"u{number}", networks))
        draft = Draft(
            self._registry,
            {},
            unix_time=1.8e9,
            random=self._random.randbytes,
            approved_routes=(),
        )
        draft.perform(
            Join(
                self._keys[number],
                f"s{number}",
                "home",
                f"n{number}",
                routes=networks,
                proof=proof,
            )
        )
        self._registry.apply(draft.changes)
        self._history.apply(draft.changes)

    def delta(self) -> bytes:
        """Return what leads from the version before to the present one."""
        (payload,) = self._history.since(self._registry.version - 1)
        return payload

    def observer(self) -> "Observer":
        """Return a node that knows all others."""
        peers = tuple(
            read(control.PeerEntry, json.loads(node.peer_json(NETWORKS)))
            for node in self._registry.nodes.values()
        )
        return Observer(peers, self._registry.version)


class Observer:
    """A node of the cluster that has sessions with all others."""

    def __init__(self, peers: tuple[control.PeerEntry, ...], version: int) -> None:
        draw = random.Random(2).randbytes
        key, coordinator = PrivateKey.generate(draw), PrivateKey.generate(draw)
        registered = control.Registered(
            epoch="epoch",
            name="observer",
            addresses=("100.127.0.1", "fd00:1:2::1:1"),
            networks=NETWORKS.prefixes,
        )
        cache = control.Cache(registered=registered, version=version, peers=peers)
        identity = Identity(key, coordinator.public_bytes, "observer")
        client = ControlClient(identity, now=0.0, random=draw, cache=cache)
        self._node = Node(
            key,
            client,
            random=draw,
            unix_time=lambda now: 1.8e9 + now,
            listen_port=41641,
            now=0.0,
            proves_routes=True,
        )
        self.routes: tuple[str, ...] = ()
        for peer in self._node.peers.values():
            peer.tunnel.last_handshake = 1.8e9
        self._node.handle_timer(1.0)
        self._look()

    def take(self, payload: bytes) -> None:
        """Take a delta, as the control client does."""
        message = control.decode_from_coordinator(payload)
        assert isinstance(message, control.Delta)
        self._node.members.change(message.changed, message.removed, 2.0)
        self._look()

    def _look(self) -> None:
        while (event := self._node.next_event()) is not None:
            if isinstance(event, InterfaceChanged):
                self.routes = event.routes


def _timed(work: Callable[[], object]) -> float:
    """Return the CPU seconds that something takes."""
    before = time.process_time()
    work()
    return time.process_time() - before
