"""Node objects and agents for tests."""

from typing import Any

from meshwg.kubernetes.agent import Action, Configure, NodeAgent
from meshwg.kubernetes.clusternode import ClusterNode, read_node
from meshwg.kubernetes.verdict import MachineView, MeshView, PodSettings
from meshwg.wire.routes import ApprovalState, RouteState

NAME = "n1"
PODS = "10.244.1.0/24"
PODS6 = "fd00:10:244:1::/64"
MESH = ("100.64.0.0/16", "fd00:1:2::/48")
LAN = MachineView(("192.168.1.0/24",))


def node_object(
    *networks: str,
    name: str = NAME,
    uid: str = "u1",
    labels: dict[str, str] | None = None,
    conditions: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """Return a Node object as the API server has it."""
    spec = {"podCIDR": networks[0], "podCIDRs": list(networks)} if networks else {}
    return {
        "metadata": {"name": name, "uid": uid, "labels": labels or {}},
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "192.168.1.7"},
                {"type": "Hostname", "address": name},
            ],
            "conditions": conditions or [],
        },
    }


def node(*networks: str, **more: Any) -> ClusterNode:
    """Return a node that has these PodCIDRs."""
    return read_node(node_object(*networks, **more))


def mesh(*told: str, refused: str | None = None, reason: str = "") -> MeshView:
    """Return a mesh that routes these networks to the node."""
    states = [RouteState(prefix=each, state=ApprovalState.APPROVED) for each in told]
    if refused is not None:
        state = ApprovalState.REFUSED
        states.append(RouteState(prefix=refused, state=state, reason=reason))
    return MeshView("meshwg0", 1400, MESH, told, tuple(states))


class AgentBench:
    """An agent, and all that it wants."""

    def __init__(
        self, settings: PodSettings | None = None, remembered: ClusterNode | None = None
    ) -> None:
        self.now = 0.0
        self.agent = NodeAgent(NAME, settings or PodSettings(), remembered)

    def actions(self, *kinds: type[Action]) -> list[Action]:
        """Return what it has wanted since the last call, of some kinds or of all."""
        found = []
        while (action := self.agent.next_action()) is not None:
            if isinstance(action, Configure):
                self.agent.configured(action.network, self.now)
            if not kinds or isinstance(action, kinds):
                found.append(action)
        return found

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake it when it wants to be woken."""
        end = self.now + seconds
        while (due := self.agent.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.agent.handle_timer(self.now)
        self.now = end

    def ready(self, *networks: str) -> "AgentBench":
        """Have the node, the machine and the mesh in order."""
        self.agent.receive_machine(LAN, self.now)
        self.agent.receive_node(node(*networks), self.now)
        self.agent.receive_mesh(mesh(*networks), self.now)
        return self
