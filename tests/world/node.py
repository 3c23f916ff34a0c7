"""A node as tests see it: they send it about, let it talk, and look at its paths."""

from typing import TypeVar

from meshwg.node import EchoReceived, NodeEvent
from meshwg.path.agent import PathAgent
from meshwg.path.events import PathStatus
from tests.sim.kinds import Kind
from tests.sim.router import Router
from tests.world.contact import Contact
from tests.world.daemon import SimDaemon
from tests.world.internet import routers_of
from tests.world.packets import udp_packet

Event = TypeVar("Event", bound=NodeEvent)


class SimNode(SimDaemon):
    """A node with all that happens to it."""

    def leave(self) -> None:
        """End in good order, and let the others hear of it."""
        self._end()
        self.network.advance(1)

    def move_to(self, kind: Kind, number: int) -> None:
        """Take the host to a new network of a kind, built as number so and so."""
        other = kind.add_to(self.network, f"{self.name}-{number}", number)
        (interface,) = other.interfaces
        other.move()
        self.move(interface.address, behind=interface.realm.gateway)

    # What tests look at.

    @property
    def router(self) -> Router:
        """The router next to it."""
        return routers_of(self.host)[0]

    def agent(self, other: "SimNode") -> PathAgent:
        """Return the path agent of a peer; there has to be one."""
        agent = self.peer(other).agent
        assert agent is not None
        return agent

    def sleeps(self, other: "SimNode") -> bool:
        """Tell whether nothing is planned for the path to a peer."""
        agent = self.peer(other).agent
        return agent is None or agent.get_timer() is None

    def status(self, other: "SimNode") -> PathStatus:
        """Return what is known about the path to a peer."""
        return self.agent(other).status(self.now)

    def path(self, other: "SimNode") -> str:
        """Return the kind of path to a peer, and a hub's name."""
        path = self.peer(other).path_json(self.now, self.now)
        return f"via {path['via']}" if path["via"] else str(path["kind"])

    def contact(self, other: "SimNode") -> Contact:
        """Return the conversation with a peer, and the ways that it took."""
        return self._contacts.setdefault(other.key, Contact())

    def found(self, kind: type[Event]) -> list[Event]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    # Traffic.

    def talk_to(self, other: "SimNode", interval: float) -> None:
        """Send numbered packets to a peer from now on, one every few seconds."""
        contact = self.contact(other)
        contact.interval = interval
        contact.turn += 1
        self._say(other, contact, contact.turn)

    def hush(self, other: "SimNode") -> None:
        """End that."""
        self.contact(other).turn += 1

    def answers(self) -> list[int]:
        """Return the sequence numbers of the echo replies so far."""
        return [e.sequence for e in self.events if isinstance(e, EchoReceived)]

    def reaches(self, other: "SimNode", limit: float = 30.0) -> bool:
        """Ping a peer every half second until an answer comes."""
        end, before = self.now + limit, len(self.answers())
        while self.now < end and len(self.answers()) == before:
            self.ping(other, 1000 + before)
            self.network.run(lambda: len(self.answers()) > before, 0.5)
        return len(self.answers()) > before

    def keep_pinging(self, other: "SimNode", seconds: float) -> int:
        """Ping a peer ten times a second; return how many were not answered."""
        first = 10_000 + len(self.answers())
        wanted = range(first, first + round(seconds * 10))
        for sequence in wanted:
            self.ping(other, sequence)
            self.network.advance(0.1)
        self.network.advance(1)
        return len(set(wanted) - set(self.answers()))

    def _say(self, other: "SimNode", contact: Contact, turn: int) -> None:
        if contact.turn != turn or contact.interval is None:
            return
        if self.host.machine is not None:
            payload = contact.next_payload(self.key)
            self.write(udp_packet(self.address, other.address, payload))
        self.network.after(contact.interval, lambda: self._say(other, contact, turn))
