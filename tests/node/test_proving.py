"""Packets go to networks behind peers only after a session with these."""

from itertools import pairwise

from meshwg.node import InterfaceChanged
from meshwg.node.proving import AT_ONCE, LOOK_INTERVAL, MAX_RETRY, MIN_RETRY
from meshwg.peer import MeshPeer
from tests.node.stage import NOW, Stage

PODS = "10.244.2.0/24"
HOST = "192.168.1.7/32"


def test_a_network_is_closed_until_its_peer_has_a_session_and_routed_then() -> None:
    stage, peer = a_peer(PODS)
    assert stage.interface() == ((), (PODS,))
    stage.connect(peer)
    assert stage.node.get_timer() is not None
    stage.node.handle_timer(NOW + LOOK_INTERVAL)
    assert stage.interface() == ((PODS,), ())


def test_a_single_address_is_left_to_the_underlay_until_then() -> None:
    stage, peer = a_peer(HOST)
    assert stage.interface() == ((), ())
    stage.connect(peer)
    stage.node.handle_timer(NOW + LOOK_INTERVAL)
    assert stage.interface() == ((HOST,), ())


def test_a_session_is_begun_and_not_waited_for() -> None:
    stage, peer = a_peer(PODS)
    stage.node.handle_timer(NOW)
    assert peer.agent is not None
    assert peer.tunnel.take_staged() == [b""]


def test_what_was_proved_holds_until_the_peer_leaves() -> None:
    stage, peer = a_peer(PODS)
    stage.connect(peer)
    stage.node.handle_timer(NOW + LOOK_INTERVAL)
    stage.add_peer("bob", "100.64.0.2", routes=[PODS], online=False)
    stage.node.handle_timer(NOW + 500)
    assert stage.interface() == ((PODS,), ())
    stage.node.members.change([], [peer.key], NOW + 501)
    assert stage.interface() == ((), ())
    stage.add_peer("bob", "100.64.0.2", routes=[PODS])
    assert stage.interface() == ((), (PODS,))


def test_another_network_of_a_peer_that_proved_it_is_routed_at_once() -> None:
    stage, peer = a_peer(PODS)
    stage.connect(peer)
    stage.node.handle_timer(NOW + LOOK_INTERVAL)
    stage.add_peer("bob", "100.64.0.2", routes=["10.244.9.0/24"])
    assert stage.interface() == (("10.244.9.0/24",), ())


def test_peers_without_networks_and_those_that_are_away_are_left_alone() -> None:
    stage, _ = a_peer()
    stage.add_peer("carol", "100.64.0.3", routes=[PODS], online=False)
    for second in range(100):
        stage.node.handle_timer(NOW + second)
    assert all(each.agent is None for each in stage.node.peers.values())


def test_a_peer_that_comes_back_is_tried_at_once() -> None:
    stage = Stage(proves_routes=True)
    stage.add_peer("bob", "100.64.0.2", routes=[PODS], online=False)
    stage.node.handle_timer(NOW + 50)
    peer = stage.add_peer("bob", "100.64.0.2", routes=[PODS])
    stage.node.handle_timer(NOW + 50)
    assert peer.agent is not None


def test_a_peer_that_does_not_answer_is_tried_ever_more_seldom() -> None:
    stage, _ = a_peer(PODS)
    proving = stage.node.proving
    assert proving is not None
    times, now = [], NOW
    while now < NOW + 600:
        begun, _ = proving.handle_timer(now)
        times += [now - NOW] * len(begun)
        now = proving.get_timer() or now + 1
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[0] >= MIN_RETRY
    assert gaps == sorted(gaps)
    assert MAX_RETRY <= gaps[-1] <= MAX_RETRY + 2 * MIN_RETRY


def test_only_so_many_handshakes_are_begun_at_once() -> None:
    stage = Stage(proves_routes=True)
    for number in range(40):
        stage.add_peer(
            f"n{number}", f"100.64.1.{number}", routes=[f"10.8.{number}.0/24"]
        )
    begun, now = [], NOW
    proving = stage.node.proving
    assert proving is not None
    for _ in range(4):
        peers, _ = proving.handle_timer(now)
        begun.append(len(peers))
        now = proving.get_timer() or now
    assert begun == [AT_ONCE, AT_ONCE, 40 - 2 * AT_ONCE, 0]


def test_without_that_networks_are_routed_at_once() -> None:
    stage = Stage()
    stage.add_peer("bob", "100.64.0.2", routes=[PODS])
    assert stage.events(InterfaceChanged)[-1].routes == (PODS,)
    assert stage.node.proving is None


def test_a_plain_peer_is_reached_by_its_hub_and_proves_nothing() -> None:
    stage = Stage(proves_routes=True)
    peer = stage.add_peer("phone", "100.64.0.9", role="plain", routes=[PODS])
    proving = stage.node.proving
    assert proving is not None
    assert proving.is_proven(peer.key)


class ProvingStage(Stage):
    """A node that wants proof, and what its interface is to have."""

    def __init__(self) -> None:
        super().__init__(proves_routes=True)
        self._last = InterfaceChanged((), (), ())

    def interface(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the networks routed into the mesh, and those that are closed."""
        self._last = [self._last, *self.events(InterfaceChanged)][-1]
        return self._last.routes, self._last.unreachable


def a_peer(*routes: str) -> tuple[ProvingStage, MeshPeer]:
    """Return a node that wants proof, and a peer with networks behind it."""
    stage = ProvingStage()
    return stage, stage.add_peer("bob", "100.64.0.2", routes=list(routes))
