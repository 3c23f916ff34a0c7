"""A cluster whose nodes sit behind NATs, in virtual time."""

from coordinator.kubernetes.identity import ClusterIdentity, ClusterProof
from coordinator.mesh.operations import Refused
from meshwg.control.client import ControlState
from meshwg.node import InterfaceChanged
from meshwg.node.proving import LOOK_INTERVAL
from meshwg.wire.control import ErrorCode
from tests.sim.kinds import PORT_RESTRICTED, PUBLIC, SYMMETRIC_RANDOM, Kind
from tests.world.node import SimNode
from tests.world.world import World

PODS = {f"n{number}": f"10.244.{number}.0/24" for number in range(1, 10)}
OTHERS = "172.30.0.0/24"


def test_pods_of_all_nodes_are_routed_whatever_nat_these_are_behind() -> None:
    cluster = Cluster()
    nodes = [cluster.add(kind) for kind in (PORT_RESTRICTED, SYMMETRIC_RANDOM, PUBLIC)]
    cluster.world.advance(30)
    for node in nodes:
        others = {PODS[each.name] for each in nodes if each is not node}
        assert routed(node) == others
        assert closed(node) == set()
    assert all(
        node.reaches(other) for node in nodes for other in nodes if node is not other
    )


def test_pods_are_closed_and_not_reached_in_clear_before_there_is_a_session() -> None:
    cluster = Cluster()
    first = cluster.add(PORT_RESTRICTED)
    cluster.world.advance(10)
    second = cluster.add(PORT_RESTRICTED)
    states: list[tuple[bool, bool]] = []
    for _ in range(100):
        cluster.world.advance(LOOK_INTERVAL)
        pods = PODS[second.name]
        states.append((pods in closed(first), pods in routed(first)))
        has_session = (
            second.key in first.node.peers
            and first.peer(second).tunnel.last_handshake is not None
        )
        assert has_session or not states[-1][1]
    assert (True, False) in states
    assert states[-1] == (False, True)


def test_a_host_is_left_to_the_underlay_until_there_is_a_session() -> None:
    cluster = Cluster()
    first = cluster.add(PUBLIC)
    cluster.world.advance(10)
    host = "192.168.77.7/32"
    second = cluster.add(PORT_RESTRICTED, offered=(PODS["n2"], host))
    states = []
    for _ in range(40):
        cluster.world.advance(LOOK_INTERVAL)
        assert host not in closed(first)
        states.append(host in routed(first))
    assert second.client.state is ControlState.CONNECTED
    assert (states[0], states[-1]) == (False, True)


def test_pods_stay_routed_while_the_coordinator_is_away_and_a_node_restarts() -> None:
    cluster = Cluster()
    first, second = cluster.add(PORT_RESTRICTED), cluster.add(PUBLIC)
    cluster.world.advance(30)
    cluster.world.coordinator.stop()
    cluster.world.advance(600)
    assert routed(first) == {PODS[second.name]}
    second.restart()
    cluster.world.advance(60)
    assert routed(first) == {PODS[second.name]}
    assert routed(second) == {PODS[first.name]}


def test_a_pod_network_that_another_node_gets_leads_there() -> None:
    cluster = Cluster()
    first, second = cluster.add(PUBLIC), cluster.add(PUBLIC)
    cluster.world.advance(30)
    second.leave()
    third = cluster.add(PUBLIC, networks=(PODS[second.name],))
    cluster.world.advance(30)
    (holder,) = (
        peer
        for peer in first.node.peers.values()
        if PODS[second.name] in peer.entry.routes
    )
    assert holder.key == third.key
    assert routed(first) == {PODS[second.name]}


def test_a_node_that_offers_what_is_not_its_own_gets_only_what_is() -> None:
    cluster = Cluster()
    first = cluster.add(PUBLIC)
    thief = cluster.add(PUBLIC, offered=(PODS["n1"], PODS["n2"], OTHERS))
    cluster.world.advance(30)
    assert routed(first) == {PODS["n2"]}
    waiting = [each.prefix for each in thief.node.members.offers.routes()]
    assert set(waiting) == {PODS["n1"], PODS["n2"], OTHERS}
    assert thief.node.members.own_routes() == (PODS["n2"],)


def test_a_machine_without_a_true_token_stays_outside() -> None:
    cluster = Cluster()
    cluster.add(PUBLIC)
    stranger = cluster.world.add("stranger", service_token="forged")
    cluster.world.advance(10)
    assert stranger.client.state is ControlState.ENDED
    assert stranger.client.error == "This token is of another cluster"


def test_while_the_cluster_says_nothing_members_go_on_and_strangers_wait() -> None:
    cluster = Cluster()
    first = cluster.add(PUBLIC)
    cluster.world.advance(10)
    cluster.is_away = True
    first.restart()
    second = cluster.add(PUBLIC)
    cluster.world.advance(60)
    assert is_connected(first)
    assert first.node.members.own_routes() == (PODS["n1"],)
    assert not is_connected(second)
    cluster.is_away = False
    cluster.world.advance(60)
    assert is_connected(second)
    assert routed(first) == {PODS["n2"]}


class Cluster:
    """A world whose coordinator knows a cluster."""

    def __init__(self) -> None:
        self.world = World()
        self.world.coordinator.cluster = self._look
        self.is_away = False
        """Neither issuer nor API server answer."""
        self._networks: dict[str, tuple[str, ...]] = {}

    def add(
        self,
        kind: Kind,
        *,
        networks: tuple[str, ...] | None = None,
        offered: tuple[str, ...] | None = None,
    ) -> SimNode:
        """Have one more node, with PodCIDRs of its own.

        :param offered: what its agent offers, if that is not what it has.
        """
        name = f"n{len(self._networks) + 1}"
        own = networks or (PODS[name],)
        self._networks[name] = own
        return self.world.add(
            name, kind, routes=offered or own, service_token=f"token-of-{name}"
        )

    def _look(self, token: str) -> ClusterProof | Refused:
        if self.is_away:
            return Refused(ErrorCode.TRY_AGAIN, "The cluster does not answer")
        name = token.removeprefix("token-of-")
        networks = self._networks.get(name)
        if networks is None:
            text = "This token is of another cluster"
            return Refused(ErrorCode.TOKEN_UNKNOWN, text)
        return ClusterProof(ClusterIdentity(name, f"u-{name}", networks))


def is_connected(node: SimNode) -> bool:
    return node.client.state is ControlState.CONNECTED


def routed(node: SimNode) -> set[str]:
    """Return the pods' networks that a node sends into the mesh."""
    return set(interface(node).routes)


def closed(node: SimNode) -> set[str]:
    """Return the networks to which a node refuses packets."""
    return set(interface(node).unreachable)


def interface(node: SimNode) -> InterfaceChanged:
    changes = node.found(InterfaceChanged)
    return changes[-1] if changes else InterfaceChanged((), (), ())
