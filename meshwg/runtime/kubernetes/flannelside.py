"""Keeps a node connected with those of its cluster that still run flannel.

The Node objects of the whole cluster are watched, and what follows from them
(:mod:`meshwg.kubernetes.flannel`) is given to the node of the mesh that runs in this
process. While the API server is away all stays as it is.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from meshwg.errors import MeshError
from meshwg.kubernetes.agent import Tell
from meshwg.kubernetes.clusternode import ClusterNode
from meshwg.kubernetes.flannel import (
    CODE,
    FlannelNodes,
    FlannelPorts,
    HostSide,
    annotation_patch,
    gateways_of,
    host_rules,
    own_annotations,
)
from meshwg.runtime import clock
from meshwg.runtime.host import NodeHost
from meshwg.runtime.kubernetes.api import MAX_PAUSE, MIN_PAUSE, SESSION, ClusterApi
from meshwg.runtime.nft import nft
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.tasks import TaskSet
from meshwg.staticpeer import StaticPeer

LOOK = 2.0
"""Seconds between two looks at who is in the mesh."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FlannelSettings:
    """What the administrator says of the cluster's flannel."""

    ports: FlannelPorts = field(default_factory=FlannelPorts)
    addresses: Mapping[int, str] = field(default_factory=dict)
    """Where flannel's nodes reach this one, by IP version, if that is not what its Node
    object says."""


class FlannelSide:
    """The flannel nodes of a cluster, for one host.

    :param name: of the own Node object.
    :param tell: logs what is wrong, and puts an Event on that.
    """

    def __init__(
        self,
        settings: FlannelSettings,
        api: ClusterApi,
        host: NodeHost,
        name: str,
        tell: Callable[[Tell], None],
    ) -> None:
        self._settings = settings
        self._api = api
        self._host = host
        self._name = name
        self._tell_cluster = tell
        self._refusal = ""
        self._nodes = FlannelNodes(name, settings.ports)
        self._own: ClusterNode | None = None
        self._is_known = False
        self._peers: tuple[StaticPeer, ...] = ()
        self._rules = self._complaint = ""
        self._tasks = TaskSet()
        self._surprises = Surprises(logger)

    def start(self) -> None:
        """Follow the cluster from now on."""
        self._tasks.run(self._watch())
        self._tasks.run(self._look_regularly())

    def close(self) -> None:
        """Follow it no more; the node keeps its peers until it ends."""
        self._tasks.cancel()

    async def _watch(self) -> None:
        pause = MIN_PAUSE
        while True:
            try:
                async with asyncio.timeout(SESSION):
                    await self._api.follow_all(self._on_all, self._on_node)
            except TimeoutError:
                pause = MIN_PAUSE
            except MeshError as error:
                logger.debug("The nodes of the cluster are not known anew: %s", error)
                pause = min(2 * pause, MAX_PAUSE)
            except Exception as error:
                self._surprises.note(error)
                pause = MAX_PAUSE
            await asyncio.sleep(random.uniform(MIN_PAUSE / 2, pause))

    async def _look_regularly(self) -> None:
        """Follow the mesh, and say again what somebody else has overwritten."""
        while True:
            try:
                await self._settle()
            except MeshError as error:
                self._complain(str(error))
            except Exception as error:
                self._surprises.note(error)
            else:
                self._complain("")
            await asyncio.sleep(LOOK)

    def _complain(self, text: str) -> None:
        """Tell what is wrong, once."""
        if text and text != self._complaint:
            self._tell_cluster(Tell("FlannelFailed", text))
        self._complaint = text

    def _on_all(self, nodes: list[ClusterNode]) -> None:
        self._is_known = True
        self._nodes.replace(nodes)
        self._own = next((each for each in nodes if each.name == self._name), None)

    def _on_node(self, node: ClusterNode, is_gone: bool) -> None:
        if node.name == self._name:
            self._own = None if is_gone else node
        if is_gone:
            self._nodes.remove(node.name)
        else:
            self._nodes.put(node)

    async def _settle(self) -> None:
        """Have the peers, the rules and the annotations that follow."""
        if not self._is_known:
            return
        node, now = self._host.node, clock.now()
        members = node.control.peers.peers
        behind = [network for each in members for network in each.routes]
        mesh = [*map(str, node.members.mesh), *node.members.own_routes(), *behind]
        self._nodes.set_mesh(
            [node.public_key, *(each.public_key for each in members)], mesh
        )
        peers = self._nodes.peers()
        complaint = self._nodes.complaint()
        node.health.put(CODE, complaint)
        refusal = "" if complaint is None else complaint.text
        if refusal and refusal != self._refusal:
            self._tell_cluster(Tell("FlannelNodeRefused", refusal))
        self._refusal = refusal
        if peers != self._peers:
            self._tell(peers)
            self._peers = peers
            node.members.set_static(peers, now)
            self._host.turn()
        await self._set_rules(peers)
        await self._publish()

    def _tell(self, peers: tuple[StaticPeer, ...]) -> None:
        before = {each.name for each in self._peers}
        for each in peers:
            if each.name not in before:
                pods = ", ".join(each.networks)
                logger.info("%s is flannel's, with the pods %s", each.name, pods)
        for name in sorted(before - {each.name for each in peers}):
            logger.info("%s is flannel's no more", name)

    async def _set_rules(self, peers: tuple[StaticPeer, ...]) -> None:
        networks = tuple(network for each in peers for network in each.networks)
        own = () if self._own is None else self._own.pod_networks
        rules = host_rules(HostSide(networks, gateways_of(own)), self._host.interface)
        if rules != self._rules:
            await nft(rules)
            self._rules = rules

    async def _publish(self) -> None:
        """Have flannel's nodes make a peer of this one, once it can be one."""
        node, own = self._host.node, self._own
        if own is None or not own.pod_networks:
            return
        approved = node.members.own_routes()
        if any(each not in approved for each in own.pod_networks):
            # What they would send could not be delivered yet.
            return
        wanted = own_annotations(node.public_key, own, self._settings.addresses)
        patch = annotation_patch(own, wanted)
        if patch is not None:
            await self._api.patch_status(patch)
