"""A gateway, and a host behind it, in virtual time."""

import itertools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from meshwg.nat import natpmp, pcp
from meshwg.nat.gateway import (
    SERVER_PORT,
    MappingChanged,
    MappingMethod,
    PortMappingEvent,
    UpnpRequested,
)
from meshwg.nat.portmap import PortMapping
from meshwg.transmit import Endpoint

GATEWAY = "192.168.1.1"
LOCAL = "192.168.1.10"
PORT = 51_820
PUBLIC = "80.94.1.2"
BOTH = frozenset({MappingMethod.PCP, MappingMethod.NAT_PMP})
ONLY = {method: frozenset({method}) for method in MappingMethod}


@dataclass
class Gateway:
    """A gateway with its habits."""

    address: str = GATEWAY
    speaks: set[MappingMethod] = field(default_factory=lambda: set(BOTH))
    admits_version: bool = True
    """Whether it answers questions of another version, saying so."""
    external: str = PUBLIC
    port: int | None = None
    lifetime: int | None = None
    result: int = 0
    sees: str | None = None
    """The source address that it sees, if another than the host sends from."""
    loses: int = 0
    """How many of the next datagrams to it get lost."""
    delay: float = 0.0

    epoch_start: float = -10_000.0
    held: set[int] = field(default_factory=set)
    nonces: set[bytes] = field(default_factory=set)
    wishes: list[int] = field(default_factory=list)
    clients: set[str] = field(default_factory=set)
    answers: list[bytes] = field(default_factory=list)

    @property
    def mappings(self) -> int:
        return len(self.held)

    def restart(self, now: float) -> None:
        self.epoch_start = now
        self.held.clear()

    def answer(self, question: bytes, source: str, now: float) -> list[bytes]:
        epoch = int(now - self.epoch_start)
        method = MappingMethod.PCP if question[0] == 2 else MappingMethod.NAT_PMP
        if method in self.speaks:
            speak = self._pcp if method is MappingMethod.PCP else self._natpmp
            answers = [speak(question, source, epoch)]
        elif self.admits_version and self.speaks == {MappingMethod.NAT_PMP}:
            answers = [struct.pack("!BBHI", 0, question[1] | 128, 1, epoch)]
        else:
            answers = []
        self.answers += answers
        return answers

    def announcement(self, method: MappingMethod, now: float) -> bytes:
        epoch = int(now - self.epoch_start)
        if method is MappingMethod.PCP:
            return struct.pack("!BBBBII12x", 2, 0x80, 0, 0, 0, epoch)
        return self._natpmp(natpmp.encode_address_request(), "", epoch)

    @staticmethod
    def moods() -> list[Callable[["Gateway"], None]]:
        def set_to(name: str, value: object) -> Callable[[Gateway], None]:
            return lambda gateway: setattr(gateway, name, value)

        return [
            *(set_to("speaks", set(some)) for some in ([], *ONLY.values(), BOTH)),
            *(set_to("result", code) for code in (0, 1, 2, 8, 12)),
            *(set_to("lifetime", value) for value in (None, 0, 8, 60, 2**32 - 1)),
            *(set_to("external", host) for host in (PUBLIC, "0.0.0.0", "10.0.0.1")),
            *(set_to("epoch_start", at) for at in (-10_000.0, 0.0)),
            *(set_to("port", port) for port in (None, 0, 1)),
        ]

    def _pcp(self, question: bytes, source: str, epoch: int) -> bytes:
        lifetime = int.from_bytes(question[4:8])
        client = pcp._unpack_address(question[8:24])
        nonce, _, internal, wish, _ = struct.unpack_from("!12sB3xHH16s", question, 24)
        self.nonces.add(nonce)
        self.wishes.append(wish)
        self.clients.add(client)
        result = self.result
        if client != (self.sees or source).partition("%")[0]:
            result = 12
        if result == 0:
            lifetime, port = self._map(internal, lifetime)
        else:
            lifetime, port = self.lifetime or 0, wish
        header = struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime, epoch)
        return (
            header
            + question[24:42]
            + struct.pack("!H", port)
            + pcp._pack_address(self.external)
        )

    def _natpmp(self, question: bytes, source: str, epoch: int) -> bytes:
        header = struct.pack("!BBHI", 0, question[1] | 128, self.result, epoch)
        if question[1] == natpmp.NatPmpOpcode.ADDRESS:
            return header + pcp._pack_address(self.external)[12:]
        internal, _, lifetime = struct.unpack_from("!HHI", question, 4)
        lifetime, port = self._map(internal, lifetime)
        return header + struct.pack("!HHI", internal, port, lifetime)

    def _map(self, internal: int, lifetime: int) -> tuple[int, int]:
        if lifetime == 0:
            self.held.discard(internal)
            return 0, 0
        self.held.add(internal)
        granted = lifetime if self.lifetime is None else self.lifetime
        return granted, internal if self.port is None else self.port


class Home:
    """A host behind a gateway; time jumps from one thing that happens to the next."""

    def __init__(
        self,
        gateway: Gateway | None = None,
        *,
        local: str = LOCAL,
        methods: frozenset[MappingMethod] = frozenset(MappingMethod),
    ) -> None:
        self.gateway = gateway or Gateway()
        self.local = local
        self.machine = PortMapping(PORT, random.Random(4).randbytes, methods=methods)
        self.now = 0.0
        self.started = False
        self.sent: list[tuple[float, str]] = []
        self.questions: list[bytes] = []
        self.events: list[PortMappingEvent] = []
        self.upnp_requests: list[tuple[float, UpnpRequested]] = []
        self._arrivals: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()

    @property
    def changes(self) -> list[MappingChanged]:
        return [event for event in self.events if isinstance(event, MappingChanged)]

    def mapped_by(self) -> MappingMethod | None:
        return self.machine.mapped.method if self.machine.mapped is not None else None

    def external(self) -> Endpoint | None:
        return self.machine.mapped.external if self.machine.mapped is not None else None

    def start(self) -> None:
        if not self.started:
            self.started = True
            self.machine.set_gateway(self.gateway.address, self.local, self.now)
            self.drain()

    def run(self, until: float | None = None) -> None:
        """Go on until a time, or until there is a mapping or a wish for UPnP."""
        self.start()
        self.drain()
        limit = 30.0 if until is None else until
        while until is not None or not (self.machine.mapped or self.upnp_requests):
            due = self.machine.get_timer()
            times = [at for at, _, _ in self._arrivals] + ([due] if due else [])
            if not times or min(times) > limit:
                break
            self.now = max(self.now, min(times))
            self._step()
        if until is not None and not self.machine.finished:
            self.now = max(self.now, until)

    def announce(self, method: MappingMethod, source: Endpoint | None = None) -> None:
        data = self.gateway.announcement(method, self.now)
        source = source or Endpoint(self.gateway.address, SERVER_PORT)
        self.machine.receive_announcement(data, source, self.now)
        self.drain()

    def drain(self) -> None:
        while (event := self.machine.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, UpnpRequested):
                self.upnp_requests.append((self.now, event))
        for transmit in self.machine.datagrams_to_send():
            assert transmit.destination == Endpoint(self.gateway.address, SERVER_PORT)
            for question in transmit.datagrams:
                self._deliver(question)

    def _deliver(self, question: bytes) -> None:
        self.sent.append((self.now, describe(question)))
        self.questions.append(question)
        if self.gateway.loses:
            self.gateway.loses -= 1
            return
        for answer in self.gateway.answer(question, self.local, self.now):
            at = self.now + self.gateway.delay
            self._arrivals.append((at, next(self._numbers), answer))

    def _step(self) -> None:
        self._arrivals.sort()
        if self._arrivals and self._arrivals[0][0] <= self.now:
            _, _, answer = self._arrivals.pop(0)
            source = Endpoint(self.gateway.address, SERVER_PORT)
            self.machine.receive_datagram(answer, source, self.now)
        else:
            self.machine.handle_timer(self.now)
        self.drain()


def describe(question: bytes) -> str:
    if question[0] == pcp.VERSION:
        return f"pcp map {int.from_bytes(question[4:8])}"
    if question[1] == natpmp.NatPmpOpcode.ADDRESS:
        return "natpmp address"
    return f"natpmp map {int.from_bytes(question[8:12])}"
