"""A carrier that lets a customer hold a hundred mappings, and a neighbour on the line.

The neighbour opens a new flow every second, as a resolver does. Nothing tells how many
mappings there are; what a birthday attempt finds out, it remembers for the network.
"""

from dataclasses import replace

import pytest

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from meshwg.path.limiter import NO_ROOM
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from tests.sim import kinds
from tests.sim.nat import Nat
from tests.sim.servers import STUN_PORT
from tests.world.internet import STUN_HOSTS
from tests.world.world import World

LIMIT = 100
HARD = (
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
    PortAllocation.RANDOM,
)
EASY = (Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
QUESTION = stun.binding_request(bytes(12))
"""A packet that is answered."""


SECONDS = 2
"""Flows, one a second, that a neighbour loses where the limit is only touched."""

REMEMBERED = 30.0
"""Seconds for which this carrier keeps a mapping."""


@pytest.mark.parametrize("role", ["fan", "prober"])
@pytest.mark.parametrize("seed", range(4))
def test_a_neighbour_is_cut_off_no_longer_than_a_carrier_remembers(
    role: str, seed: int
) -> None:
    line = Line(seed, role)
    line.let_talk(600.0)
    assert line.refused <= REMEMBERED + 6.0


def test_most_attempts_open_a_path_without_taking_what_others_need() -> None:
    lines = [Line(seed, "fan") for seed in range(20)]
    for line in lines:
        line.let_talk(60.0)
    assert sum(line.refused <= SECONDS for line in lines) >= 0.85 * len(lines)
    assert sum(line.is_direct for line in lines) >= 0.85 * len(lines)


def test_what_a_network_has_room_for_is_remembered_for_that_network() -> None:
    line = next(line for line in map(Line, range(200)) if line.finds_the_limit())
    other = line.world.add("other", kinds.PORT_RESTRICTED)
    line.world.advance(100.0)
    before = line.refused
    line.node.talk_to(other, 0.5)
    line.world.advance(60.0)
    assert line.refused == before > 0, "another peer, but the same line"

    line.node.move_to(kinds.SYMMETRIC_RANDOM, 77)
    third = line.world.add("third", kinds.PORT_RESTRICTED)
    line.world.advance(20.0)
    line.node.talk_to(third, 0.5)
    line.world.advance(2.0)
    assert len(line.node.host.sockets) > 100 or line.node.path(third) == "direct"


class Line:
    """A home with a node and a neighbour of it, who share a line of the carrier."""

    def __init__(self, seed: int, role: str = "fan") -> None:
        self.world = World(seed)
        policy = Nat(*(HARD if role == "fan" else EASY))
        policy = replace(policy, host_capacity=LIMIT, lifetime=REMEMBERED)
        carrier = self.world.network.add_router("carrier", "203.0.113.1", nat=policy)
        home = self.world.network.add_router(
            "home", "100.64.0.2", behind=carrier, nat=Nat()
        )
        self.neighbour = self.world.network.add_host(
            "neighbour", "192.168.1.9", behind=home
        )
        host = self.world.network.add_host("node", "192.168.1.2", behind=home)
        self.node = self.world.add_on(host)
        peer = kinds.PORT_RESTRICTED if role == "fan" else kinds.SYMMETRIC_RANDOM
        self.peer = self.world.add("peer", peer)
        self.world.settle()
        self.refused = 0
        self._asked = 0
        self.world.advance(60.0)
        self._resolve()

    @property
    def is_direct(self) -> bool:
        return self.node.path(self.peer) == "direct"

    def let_talk(self, seconds: float) -> None:
        self.node.talk_to(self.peer, 0.5)
        self.world.advance(seconds)

    def finds_the_limit(self) -> bool:
        """Tell whether an attempt notices it: most meet the peer before."""
        self.let_talk(30.0)
        attempts = self.node.status(self.peer).attempts
        return any(NO_ROOM in attempt.detail for attempt in attempts)

    def _resolve(self) -> None:
        """Send a question from a new port every second; count what is not answered."""
        self._asked += 1
        link = self._asked
        socket = self.neighbour.open(link=link)
        socket.send(QUESTION, Endpoint(STUN_HOSTS[0], STUN_PORT))
        self.world.network.after(0.5, lambda: self._look(link))
        self.world.network.after(1.0, self._resolve)

    def _look(self, link: int) -> None:
        self.refused += not self.neighbour.sockets[link].received
        self.neighbour.close(link)
