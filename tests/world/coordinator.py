"""A coordinator process: the project's own machine, a database and carriers."""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from coordinator.control.proofs import ProofWanted
from coordinator.control.server import ControlServer
from coordinator.control.settings import Settings
from coordinator.kubernetes.identity import ClusterProof
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import Operation, Refused, Result, Update
from coordinator.mesh.registry import Registry
from meshwg.keys import PrivateKey
from meshwg.wire.control import (
    ErrorCode,
    OfferMessage,
    ReportedCandidate,
    decode_from_coordinator,
    to_json,
)
from tests.sim.network import Network
from tests.world.ledger import LATENCY, Ledger

RETRY_INTERVAL = 0.25
"""Seconds after which the database is asked again for what it refused."""

__all__ = ["Caller", "OfferMessage", "Operation", "Settings", "SimCoordinator"]


def nobody(token: str) -> Refused:
    """Know no cluster."""
    return Refused(ErrorCode.TOKEN_UNKNOWN, "This token is of another cluster")


class Caller(Protocol):
    """The far end of a carrier."""

    def receive_later(self, number: int, frame: bytes) -> None:
        """Take a frame when it has travelled."""

    def closed_later(self, number: int, code: int) -> None:
        """Learn in a moment that the carrier is closed."""

    def cut(self, reason: str) -> None:
        """Learn at once that the carrier is broken."""


class SimCoordinator:
    """One coordinator process, which can be stopped and started.

    :param siblings: all processes on the database, this one among them.
    :param home: its name among them.
    """

    registry: Registry
    history: NetMapHistory
    server: ControlServer

    def __init__(
        self,
        network: Network,
        ledger: Ledger,
        key: PrivateKey,
        settings: Settings,
        siblings: "list[SimCoordinator]",
        home: str,
    ) -> None:
        self.network = network
        self.ledger = ledger
        self.settings = settings
        self.home = home
        self.is_up = True
        """A process that is not up, and was not stopped, says nothing to anybody."""
        self.carriers: dict[int, Caller] = {}
        self.tamper: Callable[[OfferMessage], OfferMessage] = lambda offer: offer
        """Changes the offers that come from other processes, to lie to nodes."""
        self.cluster: Callable[[str], ClusterProof | Refused] = nobody
        """What a cluster says of whoever shows a token."""
        self._key = key
        self._former: PrivateKey | None = None
        self._siblings = siblings
        self._busy = False
        self._armed: float | None = None
        self._boot()

    @property
    def url(self) -> str:
        """Where nodes find it."""
        return f"http://{self.home}"

    def find(self, url: str) -> "SimCoordinator":
        """Return the process at a URL; this one if nothing else is there."""
        return next((each for each in self._siblings if each.url == url), self)

    def number_of(self, carrier: object) -> int:
        """Return what this process calls the connection of a node."""
        ends = self.carriers.items()
        return next(n for n, end in ends if getattr(end, "carrier", None) is carrier)

    def send_elsewhere(self) -> None:
        """Have nodes connect to the others, as before a planned stop."""
        others = [each.url for each in self._siblings if each is not self]
        self.server.send_elsewhere(others, self.network.now)
        self.drain()

    @property
    def public_key(self) -> bytes:
        return self._key.public_bytes

    @property
    def offers(self) -> int:
        """How many offers this process has delivered since it was started."""
        return self.server.counters["offers"]

    def use_keys(self, key: PrivateKey, former: PrivateKey | None) -> None:
        """Be known by another key, and by the one before if that is given."""
        self._key, self._former = key, former
        self.server.use_keys(key, former, self.network.now)
        self.drain()

    def stop(self) -> None:
        """Die without a word; the operating system closes the carriers."""
        self.is_up = False
        carriers = list(self.carriers.values())
        self.carriers.clear()
        for caller in carriers:
            caller.cut("The coordinator closed the connection")

    def start(self) -> None:
        """Start again from the database; a process that runs is stopped before."""
        self.stop()
        self.is_up = True
        self._boot()
        self.drain()

    def perform(self, operation: Operation) -> Result:
        """Do what an administrator does, at once."""
        outcomes, changes = self.ledger.commit(self.registry, [operation])
        self.server.committed([], changes, self.network.now)
        self._tell_siblings()
        self.drain()
        return outcomes[0][1]

    def forge(self, offer: OfferMessage) -> None:
        """Deliver an offer that nobody made; ``sender`` and ``to`` are public keys."""
        text = to_json(offer)
        self.server.receive_forwarded(text, self.network.now)
        self.drain()

    def misreport(self, key: str, candidates: Iterable[ReportedCandidate]) -> None:
        """Tell the mesh that a node is at these addresses, until it reports again."""
        listed = ",".join(to_json(candidate).decode() for candidate in candidates)
        self.perform(Update(key, f"[{listed}]", "null"))

    # Carriers.

    def connect(self, caller: Caller, address: str) -> int | None:
        """Take a carrier; ``None`` if there is no process, or it has no room."""
        if not self.is_up:
            return None
        number = self.server.connect(address, self.network.now)
        if number is not None:
            self.carriers[number] = caller
        self.drain()
        return number

    def receive(self, number: int, frame: bytes) -> None:
        """Take a frame of a carrier."""
        if self.is_up and number in self.carriers:
            self.server.receive_frame(number, frame, self.network.now)
            self.drain()

    def disconnect(self, number: int) -> None:
        """Take note that a carrier is gone."""
        if self.carriers.pop(number, None) is not None:
            self.server.disconnect(number)
            self.drain()

    # The process.

    def drain(self) -> None:
        """Carry out what the machine wants; called after every call into it."""
        if not self.is_up:
            return
        self._ask_database()
        for number, frame in self.server.frames_to_send():
            if number in self.carriers:
                self.carriers[number].receive_later(number, frame)
        for close in self.server.closes():
            caller = self.carriers.pop(close.connection, None)
            self.server.disconnect(close.connection)
            if caller is not None:
                caller.closed_later(close.connection, close.code)
        for delivery in self.server.offers_to_forward():
            self._forward(delivery.home, delivery.text)
        for wanted in self.server.proofs_wanted():
            self.network.after(LATENCY, partial(self._prove, self.server, wanted))
        # Connections that were closed may have left something for the database.
        self._ask_database()
        self._arm()

    def look(self) -> None:
        """Take note that another process has changed the database."""
        if self.is_up and not self._busy:
            _, changes = self.ledger.commit(self.registry, [])
            self.server.committed([], changes, self.network.now)
            self.drain()

    def _boot(self) -> None:
        self._busy, self._armed = False, None
        self.registry, self.history = self.ledger.load()
        self.server = ControlServer(
            self._key,
            self.registry,
            self.history,
            dataclasses.replace(self.settings, home=self.home),
            now=self.network.now,
            unix_time=self.network.unix_time,
            random=self.network.random.randbytes,
        )
        self.server.use_keys(self._key, self._former, self.network.now)
        self.introduce()

    def introduce(self) -> None:
        """Say to nodes that come from now on where the other processes are."""
        others = [each.url for each in self._siblings if each is not self]
        self.server.use_coordinators(others)

    def _ask_database(self) -> None:
        if self._busy:
            return
        server, now = self.server, self.network.now
        if operations := server.operations(now):
            self._busy = True
            self.network.after(
                self.ledger.latency, lambda: self._commit(server, operations)
            )
        elif server.pending:
            self._busy = True
            self.network.after(RETRY_INTERVAL, lambda: self._ask_again(server))

    def _ask_again(self, server: ControlServer) -> None:
        if server is self.server:
            self._busy = False
            self.drain()

    def _commit(self, server: ControlServer, operations: list[Operation]) -> None:
        if server is not self.server or not self.is_up:
            return
        self._busy = False
        if self.ledger.broken:
            server.failed(operations, self.network.now)
        else:
            outcomes, changes = self.ledger.commit(self.registry, operations)
            server.committed(outcomes, changes, self.network.now)
            self._tell_siblings()
        self.drain()

    def _prove(self, server: ControlServer, wanted: ProofWanted) -> None:
        if server is self.server:
            server.proved(wanted.session, self.cluster(wanted.token))
            self.drain()

    def _tell_siblings(self) -> None:
        for other in self._siblings:
            if other is not self:
                self.network.after(LATENCY, other.look)

    def _forward(self, home: str, text: bytes) -> None:
        offer = decode_from_coordinator(b"\0" + text)
        assert isinstance(offer, OfferMessage)
        for other in self._siblings:
            if other.home == home and other.is_up:
                other.forge(other.tamper(offer))

    def _arm(self) -> None:
        when = self.server.get_timer()
        if self._armed is None or when < self._armed:
            self._armed = when
            self.network.at(when, lambda: self._fire(when))

    def _fire(self, when: float) -> None:
        if self._armed == when:
            self._armed = None
            if self.is_up:
                self.server.handle_timer(self.network.now, self.network.unix_time)
                self.drain()
