"""The host of a node: its sockets, and that what happens is dealt with at once."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshwg.config import NodeConfig
from meshwg.errors import ConfigError
from meshwg.node import EchoReceived
from meshwg.runtime import host as module
from meshwg.runtime.host import Host
from meshwg.runtime.interface import Network
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.runtime.tun import TunDevice
from meshwg.transmit import Transmit

IDENTIFIER = 5

# Which port


def test_any_port_is_that_of_the_last_run_if_it_is_free() -> None:
    first = module._open_sockets(0, 0, lambda endpoint: None)
    port = first.port

    second = module._open_sockets(0, port, lambda endpoint: None)
    assert second.port != port
    first.close()
    second.close()

    third = module._open_sockets(0, port, lambda endpoint: None)
    assert third.port == port
    third.close()


def test_a_port_that_was_asked_for_must_be_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        port = other.getsockname()[1]

        with pytest.raises(ConfigError, match=f"UDP port {port} cannot be used"):
            module._open_sockets(port, 0, lambda endpoint: None)


# What happens


@pytest.mark.parametrize(
    ("part", "happens", "told"),
    [
        ("ControlLink", lambda say: say(), ["control_changed"]),
        ("Resolver", lambda say: say([], []), ["set_servers"]),
        ("PortMapper", lambda say: say(None, "gone"), ["set_mapped"]),
        (
            "Surroundings",
            lambda say: say(Network((), (), ())),
            ["set_hosts", "network_changed"],
        ),
    ],
)
async def test_what_follows_news_happens_in_the_same_turn_of_the_loop(
    world: "World", part: str, happens: Callable[[Any], None], told: list[str]
) -> None:
    happens(world.callbacks[part])
    await asyncio.sleep(0)

    assert world.order == [
        *told,
        "an event",
        "datagrams",
        *["the next turn of the loop"] * len(told),
    ]


class StandInNode:
    """A node to which an event and datagrams follow from whatever it is told."""

    def __init__(self, order: list[str]) -> None:
        self.device = SimpleNamespace(mtu=0)
        self._order = order
        self._events: list[EchoReceived] = []
        self._has_datagrams = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return what takes news of any kind."""

        def take(*_: object) -> None:
            self._order.append(name)
            self._events = [EchoReceived(IDENTIFIER, 1)]
            self._has_datagrams = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._order.append, "the next turn of the loop")

        return take

    def next_event(self) -> EchoReceived | None:
        return self._events.pop() if self._events else None

    def datagrams_to_send(self) -> list[Transmit]:
        if self._has_datagrams:
            self._order.append("datagrams")
        self._has_datagrams = False
        return []

    def packets_to_write(self) -> list[bytes]:
        return []

    def note(self) -> None:
        pass

    def stop(self, now: float) -> None:
        pass


class World:
    """A host whose parts say what a test has them say.

    :ivar callbacks: what the parts call, by their names.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: StateDirectory) -> None:
        self.order: list[str] = []
        self.callbacks: dict[str, Callable[..., None]] = {}
        monkeypatch.setattr(module, "Node", lambda *_, **__: StandInNode(self.order))
        monkeypatch.setattr(TunDevice, "open", interface_without_privilege)
        for part in ("ControlLink", "Resolver", "PortMapper", "Surroundings"):
            self._note_callback(monkeypatch, part)
        state.save_membership(StoredMembership("http://127.0.0.1:1", bytes(32)))
        self.host = Host(NodeConfig(), state, 1400)
        self.host.echo_listeners[IDENTIFIER] = lambda _: self.order.append("an event")

    def _note_callback(self, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
        make = getattr(module, part)

        def note(*arguments: Any, **options: Any) -> Any:
            self.callbacks[part] = next(each for each in arguments if callable(each))
            return make(*arguments, **options)

        monkeypatch.setattr(module, part, note)


@pytest.fixture
async def world(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[World]:
    state = StateDirectory(tmp_path)
    made = World(monkeypatch, state)
    yield made
    await made.host.close()
    state.close()


def interface_without_privilege(name: str, mtu: int) -> TunDevice:
    """Return a device that stands for an interface that every machine has."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.close()
    return TunDevice(near.detach(), "lo", has_vnet_header=False)
