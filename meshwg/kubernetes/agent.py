"""The agent of one node: makes the mesh the network of the pods on it.

It hears what the API server says of its own Node object, what the coordinator says of
its routes, and what is on the machine; it says what to offer to the mesh, what the
machine is to have, and what to tell the cluster. Other nodes concern it only through
the mesh: what leads to their pods follows from the netmap, so a change of one node
costs each other agent one delta, and the API server nothing.

That something is not heard of is never news: only a Node object that the API server
says is gone ends the pods' network.
"""

from collections import deque
from dataclasses import dataclass

from meshwg.kubernetes.clusternode import ClusterNode
from meshwg.kubernetes.networklist import FILE
from meshwg.kubernetes.verdict import (
    MachineView,
    MeshView,
    Obstacle,
    PodNetwork,
    PodSettings,
    host_routes,
    local_obstacle,
    mesh_obstacle,
    pod_network,
)

PATIENCE = 20.0
"""Seconds in which the controller manager may give a new node its PodCIDR, and in which
the mesh may route it, before that is worth a word."""
AGAIN = 15.0
"""Seconds until a condition is set again that somebody else has changed."""
RETRY = 30.0
"""Seconds until the machine is asked again for what it has refused."""
REPEAT = 3600.0
"""Seconds until the same is told again."""
FAILED = "Failed"
READY = "MeshReady"
READY_TEXT = "The mesh routes the pods of this node"


@dataclass(frozen=True, slots=True)
class OfferNetworks:
    """Offer these networks to the mesh, and no others."""

    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Configure:
    """Have this network list and these rules."""

    network: PodNetwork


@dataclass(frozen=True, slots=True)
class Unconfigure:
    """Have neither network list nor rules."""


@dataclass(frozen=True, slots=True)
class SetCondition:
    """Tell the cluster whether pods have a network here."""

    is_unavailable: bool
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Put an Event on the Node object, and log it."""

    reason: str
    text: str
    is_warning: bool = True


@dataclass(frozen=True, slots=True)
class Remember:
    """Know this node at the next start, whether the API server is there or not."""

    node: ClusterNode | None


Action = OfferNetworks | Configure | Unconfigure | SetCondition | Tell | Remember


class NodeAgent:
    """Decides for one node of a cluster.

    :param remembered: the node as it was known when the agent last ran.
    """

    def __init__(
        self,
        name: str,
        settings: PodSettings,
        remembered: ClusterNode | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._node = self._remembered = remembered
        self._is_fresh = False
        """Whether the API server has said how the node is, in this run."""
        self._machine: MachineView | None = None
        self._mesh: MeshView | None = None
        self._refusal: Obstacle | None = None
        self._offered: tuple[str, ...] = ()
        self._standing: PodNetwork | None = None
        self._done: PodNetwork | None = None
        """What of that the machine has by now."""
        self._retry_at = float("-inf")
        self._is_bare = False
        """Whether the machine is known to have nothing of ours."""
        self._doubt: Obstacle | None = None
        self._doubted_since = 0.0
        self._condition: SetCondition | None = None
        self._condition_at = float("-inf")
        self._told: dict[tuple[str, str], float] = {}
        self._actions: deque[Action] = deque()
        self._timer: float | None = None

    @property
    def offered(self) -> tuple[str, ...]:
        """What the node offers to the mesh."""
        return self._offered

    @property
    def network(self) -> PodNetwork | None:
        """What the machine is to have, ``None`` for nothing."""
        return self._standing

    @property
    def obstacle(self) -> Obstacle | None:
        """What stands in the way, perhaps only since a moment ago."""
        return self._doubt

    # What is learnt.

    def receive_node(self, node: ClusterNode | None, now: float) -> None:
        """Take what the API server says of the node, ``None`` if it has none."""
        if node is not None and node.name != self._name:
            return
        self._node, self._is_fresh = node, True
        self._remember()
        self._settle(now)

    def receive_machine(self, machine: MachineView, now: float) -> None:
        """Take what is on the machine."""
        if machine == self._machine:
            return
        had_list = self._machine is not None and FILE in self._machine.files
        if had_list and FILE not in machine.files:
            # Somebody else has removed it: it is written again.
            self._standing = self._done = None
        self._machine = machine
        self._settle(now)

    def receive_mesh(self, mesh: MeshView, now: float) -> None:
        """Take what the mesh is to this node."""
        if mesh != self._mesh:
            self._mesh, self._refusal = mesh, None
            self._settle(now)

    def refused(self, text: str, now: float) -> None:
        """Take it that the coordinator does not let this node in, and why."""
        self._refusal = Obstacle("NotInMesh", text)
        self._settle(now)

    def configured(self, network: PodNetwork, now: float) -> None:
        """Take it that the machine has what it was to have."""
        self._done = network
        pods = ", ".join(network.pod_networks)
        self._tell(Tell(READY, f"Pods here are in {pods}", is_warning=False), now)
        self._settle(now)

    def failed(self, text: str, now: float) -> None:
        """Take it that the machine has refused what it was to have; it has nothing."""
        self._standing, self._done, self._is_bare = None, None, True
        self._retry_at = now + RETRY
        self._tell(Tell(FAILED, text), now)
        self._set_condition(SetCondition(True, FAILED, text), now)
        self._wake(self._retry_at)

    # What comes of it.

    def next_action(self) -> Action | None:
        """Return what is to be done next."""
        return self._actions.popleft() if self._actions else None

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._timer is not None and now >= self._timer:
            self._settle(now)

    def _settle(self, now: float) -> None:
        self._timer = None
        obstacle, network = self._judge()
        self._offer()
        if obstacle is None:
            self._doubt = None
            if network is not None:
                self._configure(network, now)
        elif self._is_certain(obstacle, now):
            self._give_up(obstacle, now)

    def _judge(self) -> tuple[Obstacle | None, PodNetwork | None]:
        """Return what stands in the way, or what the machine is to have, or neither."""
        if self._refusal is not None:
            return self._refusal, None
        node, machine, mesh = self._node, self._machine, self._mesh
        if node is None:
            return (self._gone() if self._is_fresh else None), None
        if machine is None:
            return None, None
        obstacle = local_obstacle(node, machine, self._settings)
        if obstacle is not None or mesh is None:
            return obstacle, None
        obstacle = mesh_obstacle(node, mesh)
        if obstacle is not None:
            return obstacle, None
        return None, pod_network(node, mesh, self._settings)

    def _gone(self) -> Obstacle:
        return Obstacle(
            "NoNode",
            f"The cluster has no node {self._name}: see that kubelet has registered "
            "it, and name it with --node-name if it is called otherwise",
        )

    def _offer(self) -> None:
        """Offer what the cluster gave the node, unless something here forbids it.

        What the mesh objects to is offered on, so that it may change its mind.
        """
        node, machine, offered = self._node, self._machine, self._offered
        if node is None:
            offered = () if self._is_fresh else offered
        elif machine is not None:
            is_free = local_obstacle(node, machine, self._settings) is None
            offered = node.pod_networks if is_free else ()
            if self._settings.encrypts_hosts:
                mesh = self._mesh.networks if self._mesh is not None else ()
                offered += host_routes(node, mesh)
        if offered != self._offered:
            self._offered = offered
            self._actions.append(OfferNetworks(offered))

    def _configure(self, network: PodNetwork, now: float) -> None:
        if now < self._retry_at:
            self._wake(self._retry_at)
            return
        if network != self._standing:
            self._standing, self._done, self._is_bare = network, None, False
            self._actions.append(Configure(network))
        if network == self._done:
            self._set_condition(SetCondition(False, READY, READY_TEXT), now)

    def _give_up(self, obstacle: Obstacle, now: float) -> None:
        if not self._is_bare:
            self._standing, self._done, self._is_bare = None, None, True
            self._actions.append(Unconfigure())
        self._tell(Tell(obstacle.reason, obstacle.text), now)
        self._set_condition(SetCondition(True, obstacle.reason, obstacle.text), now)

    def _is_certain(self, obstacle: Obstacle, now: float) -> bool:
        """Tell whether an obstacle is one for long enough not to be just a moment's.

        A new node gets its PodCIDR a little later, and its route later still. What
        stands already, stands until then.
        """
        if self._doubt is None or self._doubt.reason != obstacle.reason:
            self._doubted_since = now
        self._doubt = obstacle
        is_momentary = obstacle.reason in ("NoPodCIDR", "PodCIDRNotApproved")
        certain_at = self._doubted_since + (PATIENCE if is_momentary else 0.0)
        if now < certain_at:
            self._wake(certain_at)
        return now >= certain_at

    def _set_condition(self, wanted: SetCondition, now: float) -> None:
        node = self._node
        if node is None or not self._is_fresh:
            return
        if node.is_unavailable == wanted.is_unavailable:
            return
        if wanted != self._condition or now >= self._condition_at + AGAIN:
            self._condition, self._condition_at = wanted, now
            self._actions.append(wanted)
        self._wake(self._condition_at + AGAIN)

    def _tell(self, tell: Tell, now: float) -> None:
        key = (tell.reason, tell.text)
        if now >= self._told.get(key, float("-inf")) + REPEAT:
            recent = {k: at for k, at in self._told.items() if now < at + REPEAT}
            self._told = {**recent, key: now}
            self._actions.append(tell)

    def _remember(self) -> None:
        """Note the node if what the next start needs of it has changed."""
        node, known = self._node, self._remembered
        if _essence(node) != _essence(known):
            self._remembered = node
            self._actions.append(Remember(node))

    def _wake(self, at: float) -> None:
        self._timer = at if self._timer is None else min(self._timer, at)


def _essence(node: ClusterNode | None) -> tuple[object, ...] | None:
    if node is None:
        return None
    return node.uid, node.pod_networks, node.addresses
