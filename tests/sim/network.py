"""The simulated internet itself: its clock, its events, and how datagrams travel.

A *realm* is a set of addresses that reach each other: the internet, or the inside of
a router. A datagram is handed from realm to realm; at each router it may be dropped,
translated or sent back in, at the virtual time at which it gets there.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable

from tests.sim.host import Host, Interface
from tests.sim.nat import Address, Firewall, Nat
from tests.sim.realm import Node, Packet, Realm, Wire
from tests.sim.router import Router
from tests.sim.stream import Path

START = 1000.0
"""Virtual time begins here, so that a zero taken for a time is noticed."""

UNIX_OFFSET = 1_700_000_000.0
"""The wall clock at virtual time 0, which no program ever sees."""

SPIN_LIMIT = 20_000
"""So many events at one instant mean that a machine's timer never moves on."""


class Network:
    """The internet, its clock and everything attached to it.

    :param core_hops: routers between any two nodes of the internet. With one, a
        datagram of TTL 2 opens the sender's own NAT and dies before the peer's.
    """

    def __init__(self, seed: int = 0, core_hops: int = 1) -> None:
        self.now = START
        self.clock_error = 0.0
        """Seconds by which the wall clocks of servers are wrong."""
        self.random = random.Random(seed)
        self.core_hops = core_hops
        self.internet = Realm()
        self.drops: Counter[str] = Counter()
        """Datagrams that arrived nowhere, by reason."""
        self.delivered = 0
        self.lose: Callable[[Packet], bool] = lambda packet: False
        """Tells which datagrams get lost, when a test wants to choose."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def unix_time(self) -> float:
        """What the wall clock of a server shows now."""
        return self.now + UNIX_OFFSET + self.clock_error

    def add_host(
        self,
        name: str,
        *addresses: str,
        behind: Router | None = None,
        delay: float = 0.001,
        jitter: float = 0.0,
        loss: float = 0.0,
    ) -> Host:
        """Add a host with one interface: public, or inside of a router."""
        host = Host(self, name)
        wire = Wire(delay, jitter, loss)
        host.add_interface(*addresses, behind=behind, wire=wire)
        return host

    def add_router(
        self,
        name: str,
        *addresses: str,
        behind: Router | None = None,
        nat: Nat | None = None,
        firewall: Firewall | None = None,
        delay: float = 0.01,
        jitter: float = 0.0,
        loss: float = 0.0,
        block_udp: bool = False,
        tcp_ports: frozenset[int] | None = None,
    ) -> Router:
        """Add a router; with ``nat`` it translates IPv4, and routes IPv6.

        :param addresses: its public IPv4 addresses, for ``nat``.
        :param firewall: filters what is routed; by default, nothing unasked gets in.
        :param tcp_ports: the only ports streams may connect to, ``None`` for all.
        """
        router = Router(self, name, addresses, behind, nat, firewall or Firewall())
        router.uplink = Wire(delay, jitter, loss)
        router.block_udp = block_udp
        router.tcp_ports = tcp_ports
        return router

    def run(
        self,
        until: float | Callable[[], bool] | None = None,
        limit: float = 600.0,
    ) -> bool:
        """Jump from event to event until a time, or until a condition holds.

        :param until: an absolute time, a condition, or ``None``: until all is quiet.
        :param limit: seconds of virtual time after which to give up.
        :return: whether it came to what was waited for.
        """
        if isinstance(until, int | float):
            return self._run(lambda: False, until)
        if until is not None:
            return until() or self._run(until, self.now + limit)
        return self._run(lambda: not self._events, self.now + limit)

    def advance(self, seconds: float) -> None:
        """Run for some seconds of virtual time."""
        self.run(until=self.now + seconds)

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do something ``delay`` seconds from now."""
        self.at(self.now + delay, action)

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at an absolute time, or now if that has passed."""
        event = (max(when, self.now), next(self._order), action)
        heapq.heappush(self._events, event)

    def carry(self, packet: Packet, realm: Realm, sender: Node) -> None:
        """Deliver a datagram from ``sender`` to its destination in the realm."""
        wire = sender.wire(realm)
        target = realm.members.get(packet.destination[0]) or realm.gateway
        if realm is self.internet:
            packet.ttl -= self.core_hops
        if packet.ttl <= 0:
            self.drop("ttl")
        elif target is None or target is sender:
            self.drop("no route")
        elif self._is_lost(packet, wire, target.wire(realm)):
            self.drop("lost")
        else:
            delay = self._delay_of(wire) + self._delay_of(target.wire(realm))
            self.after(delay, lambda: target.receive(packet, realm))

    def drop(self, reason: str) -> None:
        """Count a datagram that ends here."""
        self.drops[reason] += 1

    def path(self, host: Host, destination: Address) -> Path | None:
        """Return the way of a stream to a listening host, ``None`` if it is closed."""
        interface = host.interface_for(destination[0])
        if interface is None:
            return None
        source = interface.address, self.random.randrange(1024, 65536)
        realm = interface.realm
        delay = interface.wire(realm).delay
        routers: list[tuple[Router, int]] = []
        while destination[0] not in realm.members:
            router = realm.gateway
            if router is None or not router.lets_stream_out(destination[1]):
                return None
            if router.translation is not None and not router.routes(destination[0]):
                port = self.random.randrange(1024, 65536)
                source = router.translation.addresses[0], port
            routers.append((router, router.reboots))
            realm, delay = router.outside, delay + router.uplink.delay
        target = realm.members[destination[0]]
        if not isinstance(target, Interface):
            return None
        return Path(
            delay + target.wire(realm).delay, source, tuple(routers), target.host
        )

    def _run(self, is_done: Callable[[], bool], end: float) -> bool:
        at_once = 0
        while self._events and self._events[0][0] <= end:
            when, _, action = heapq.heappop(self._events)
            at_once = at_once + 1 if when == self.now else 0
            assert at_once < SPIN_LIMIT, f"Something spins at {when}"
            self.now = when
            action()
            if is_done():
                return True
        self.now = max(self.now, end)
        return False

    def _is_lost(self, packet: Packet, *wires: Wire) -> bool:
        return self.lose(packet) or any(
            wire.loss > 0 and self.random.random() < wire.loss for wire in wires
        )

    def _delay_of(self, wire: Wire) -> float:
        if not wire.jitter:
            return wire.delay
        return wire.delay + self.random.random() * wire.jitter
