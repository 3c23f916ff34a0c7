"""A control client and what stands in for its coordinator, for tests of the client."""

import random
from typing import TypeVar

from meshwg.control.client import ControlClient, ControlState
from meshwg.control.events import ControlEvent
from meshwg.control.identity import Identity
from meshwg.keys import PrivateKey, format_key
from meshwg.wire import channel, control
from meshwg.wire.control import Registered, ReportedCandidate
from meshwg.wire.models import decode_from_node

_Event = TypeVar("_Event", bound=ControlEvent)

COORDINATOR = PrivateKey.generate(random.Random(1).randbytes)
NODE = PrivateKey.generate(random.Random(2).randbytes)
OWN_KEY = format_key(NODE.public_bytes)
OTHER_KEY = format_key(bytes(range(32)))
CANDIDATE = ReportedCandidate(kind="host", host="192.0.2.1", port=7)
REGISTERED = Registered(
    epoch="e",
    name="node",
    addresses=("100.64.0.1", "fd00::1"),
    networks=("100.64.0.0/16", "fd00::/48"),
    time=1000.0,
)


class Link:
    """A client, and what stands in for its coordinator."""

    def __init__(
        self,
        *,
        name: str = "node",
        auth_key: str | None = None,
        coordinator_key: bytes = COORDINATOR.public_bytes,
        cache: control.Cache | None = None,
        urls: tuple[str, ...] = (),
        seed: int = 3,
    ) -> None:
        self.now = 100.0
        self.random = random.Random(seed).randbytes
        membership = Identity(NODE, coordinator_key, name, auth_key, urls=urls)
        self.client = ControlClient(
            membership, now=self.now, random=self.random, cache=cache
        )
        self._channel: channel.Channel | None = None
        self._heard_on = 0
        self._events: list[ControlEvent] = []

    @property
    def number(self) -> int:
        """The number of the connection that was begun last."""
        return self.client.connections[-1]

    def tick(self) -> None:
        self.client.handle_timer(self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while (at := self.client.get_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            self.tick()
        self.now = end

    def wait(self) -> float:
        """Return the seconds until the next attempt."""
        at = self.client.get_timer()
        assert at is not None
        return at - self.now

    def tick_until_connecting(self) -> None:
        self.now += self.wait()
        self.tick()
        assert self.client.state is ControlState.CONNECTING

    def fail(self) -> float:
        """Let one attempt fail; return the seconds until the next."""
        self.tick_until_connecting()
        self.client.control_closed(self.number, "No route", self.now)
        return self.wait()

    def connect(self) -> control.Register:
        """Do the handshake; return the registration."""
        self.tick_until_connecting()
        return self.shake_hands()

    def shake_hands(self) -> control.Register:
        """Do the handshake of the connection begun last, and speak on it from now on.

        Returns the registration.
        """
        number = self._heard_on = self.number
        self.client.control_opened(number, self.now)
        frames = self.client.control_to_send()
        (initiation,) = (frame for at, frame in frames if at == number)
        _, response, self._channel = channel.answer(
            COORDINATOR, initiation, random=self.random
        )
        self.client.receive_control(number, response, self.now)
        (register,) = self.messages()
        assert isinstance(register, control.Register)
        return register

    def joined(self) -> "Link":
        self.connect()
        self.hear(REGISTERED)
        return self

    def lose(self) -> None:
        reason = "The connection was reset"
        self.client.control_closed(self._heard_on, reason, self.now)

    def hear(self, message: control.FromCoordinator) -> None:
        self.hear_payload(control.encode(message))

    def hear_heartbeat(self) -> None:
        self.hear_payload(channel.HEARTBEAT)

    def hear_payload(self, payload: bytes) -> None:
        assert self._channel is not None
        frame = self._channel.seal(payload)
        self.client.receive_control(self._heard_on, frame, self.now)

    def said(self) -> list[bytes]:
        """Return the payloads sent since the last call."""
        assert self._channel is not None
        return [
            self._channel.open(frame)
            for number, frame in self.client.control_to_send()
            if number == self._heard_on
        ]

    def messages(self) -> list[control.FromNode | None]:
        """Return the messages sent since the last call."""
        return [decode_from_node(p) for p in self.said() if p]

    def events(self) -> list[ControlEvent]:
        """Return all events so far."""
        while (event := self.client.next_event()) is not None:
            self._events.append(event)
        return self._events

    def found(self, kind: type[_Event]) -> list[_Event]:
        """Return the events of a kind so far."""
        return [event for event in self.events() if isinstance(event, kind)]
