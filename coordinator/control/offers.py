"""Offers on their way between members, at this process or at others."""

from coordinator.control import rendezvous
from coordinator.control.carriers import Carriers
from coordinator.control.connection import Connection
from coordinator.control.counters import ControlCounters
from coordinator.control.deliveries import Deliveries
from coordinator.control.members import Members
from coordinator.control.rendezvous import Delivery
from coordinator.mesh.registry import Registry
from meshwg.wire import control


class Offers:
    """Passes offers on; an offer that cannot be delivered now is dropped.

    The sender's path agent repeats what was not answered.
    """

    def __init__(
        self,
        registry: Registry,
        carriers: Carriers,
        members: Members,
        deliveries: Deliveries,
        counters: ControlCounters,
    ) -> None:
        self._registry = registry
        self._carriers = carriers
        self._members = members
        self._deliveries = deliveries
        self._counters = counters
        self._forwarded: list[Delivery] = []

    def pass_on(
        self, connection: Connection, offer: control.OfferMessage, now: float
    ) -> None:
        """Take an offer from a member; answer it if it goes nowhere."""
        decision = rendezvous.route(
            self._registry, connection.key, offer, connection.address
        )
        if isinstance(decision, control.Error):
            self._counters.refusals[decision.code] += 1
            self._members.send(connection, decision, now)
        elif self._members.get(decision.to) is not None:
            self._deliver(decision, now)
        else:
            self._counters.events["offers_forwarded"] += 1
            self._forwarded.append(decision)

    def to_forward(self) -> list[Delivery]:
        """Return the offers for nodes that are connected to other processes."""
        forwarded, self._forwarded = self._forwarded, []
        return forwarded

    def receive_forwarded(self, text: bytes, now: float) -> None:
        """Take an offer from another process."""
        delivery = rendezvous.read_forwarded(text)
        if delivery is not None:
            self._deliver(delivery, now)

    def _deliver(self, delivery: Delivery, now: float) -> None:
        target = self._members.get(delivery.to)
        if target is None or not target.writable:
            self._counters.events["offers_lost"] += 1
            return
        self._counters.events["offers"] += 1
        payload = delivery.payload
        self._deliveries.note(delivery.to, payload, now)
        self._carriers.send(target, payload, now)
