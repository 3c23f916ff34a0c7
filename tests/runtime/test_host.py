"""The host of a node: its sockets, what it does when something happens, its end."""

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshwg.config import NodeConfig
from meshwg.errors import ConfigError, Removed
from meshwg.health import Health
from meshwg.nat.gateway import Mapped, MappedProtocol, MappingMethod
from meshwg.node import EchoReceived, Expelled
from meshwg.node.trust import Trust
from meshwg.relay.pool import CredentialsUsed
from meshwg.relay.transactions import TurnCredentials
from meshwg.runtime import host as module
from meshwg.runtime.host import NodeHost
from meshwg.runtime.interface import Settlement
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.runtime.surroundings import Network
from meshwg.runtime.tun import TunDevice
from meshwg.transmit import Endpoint, Transmit
from netlab.lab import Lab
from tests.descriptors import open_descriptors

IDENTIFIER = 5

# What happens


@pytest.mark.parametrize(
    ("part", "happens", "told"),
    [
        ("ControlLink", lambda say: say(), ["control_changed"]),
        ("Resolver", lambda say: say([], []), ["set_servers"]),
        ("PortMapper", lambda say: say(None, "gone"), ["set_mapped"]),
        (
            "HostNetwork",
            lambda say: say(Network((), (), ()), True),
            ["set_hosts", "network_changed"],
        ),
        (
            "HostNetwork",
            lambda say: say(Network((), (), ()), False),
            ["set_hosts"],
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


async def test_where_the_router_maps_the_udp_port_the_tcp_port_is_mapped_too(
    world: "World", monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[StandInMapper] = []

    def make(*_: object, protocol: MappedProtocol, **__: object) -> StandInMapper:
        made.append(StandInMapper(protocol))
        return made[-1]

    monkeypatch.setattr(module, "PortMapper", make)
    external = Endpoint("80.94.1.2", 40_001)
    inside = Mapped(external, MappingMethod.PCP, 0.0, public=False)
    public = replace(inside, public=True)

    world.callbacks["PortMapper"](inside, "It is mapped behind another NAT.")
    assert made == []
    world.callbacks["PortMapper"](public, "It is mapped.")
    world.callbacks["PortMapper"](public, "It is mapped again.")
    world.host._on_network(Network((), (), ()), True)
    assert world.host._tcp is not None
    port = world.host._tcp.port
    await world.host.close()

    (mapper,) = made
    assert mapper.protocol is MappedProtocol.TCP
    assert mapper.calls == [f"started at {port}", "network changed", "stopped"]


async def test_an_expelled_node_ends_and_forgets_the_netmap(world: "World") -> None:
    world.state.save_netmap(b"{}")

    world.host._carry_out(Expelled("It was revoked.", forget=True))

    assert world.host.finished.is_set()
    assert isinstance(world.host.failure, Removed)
    assert str(world.host.failure).startswith("It was revoked. Join again")
    await world.host.close()
    assert world.state.netmap() is None


async def test_a_refused_node_ends_and_keeps_the_netmap(world: "World") -> None:
    world.state.save_netmap(b"{}")

    world.host._carry_out(Expelled("The token has expired", forget=False))

    assert str(world.host.failure) == "The token has expired."
    await world.host.close()
    assert world.state.netmap() == b"{}"


async def test_without_its_interface_a_node_ends(world: "World") -> None:
    world.host._on_tun_gone()

    assert world.host.finished.is_set()
    assert "The interface lo was removed" in str(world.host.failure)


async def test_waiting_for_a_look_ends_with_the_look_or_the_time(
    world: "World",
) -> None:
    await world.host.wait_until_looked(0.01)

    looking = asyncio.create_task(world.host.wait_until_looked(10))
    await asyncio.sleep(0)
    world.whereabouts.looked_at = 1.0
    world.host.turn()
    await looking


async def test_nobody_waits_for_what_is_known(world: "World") -> None:
    world.whereabouts.looked_at = 1.0

    await asyncio.wait_for(world.host.wait_until_looked(10), 1)


async def test_all_who_wait_for_a_look_go_on_together(world: "World") -> None:
    looking = [asyncio.create_task(world.host.wait_until_looked(10)) for _ in range(2)]
    await asyncio.sleep(0)

    world.whereabouts.looked_at = 1.0
    world.host.turn()
    done, _ = await asyncio.wait(looking, timeout=1)

    assert len(done) == 2


async def test_credentials_are_written_in_order_while_packets_are_carried(
    world: "World", monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    save = world.state.save_relay_credentials

    def note(credentials: Any) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        save(credentials)

    monkeypatch.setattr(world.state, "save_relay_credentials", note)
    for number in range(5):
        used = (("turn:relay.test", TurnCredentials(f"{number}:node", "secret")),)
        world.host._carry_out(CredentialsUsed(used))
    assert threads == []

    await world.host.close()

    assert threads == [False] * 5
    assert world.state.relay_credentials() == list(used)


async def test_that_ipv6_is_switched_off_or_on_is_told_once(world: "World") -> None:
    world.host._on_ipv6(True)
    world.host._on_ipv6(False)
    assert world.order.count("set_ipv6") == 1


# Beginning and end


async def test_a_host_that_cannot_be_made_leaves_nothing(world: "World") -> None:
    before = open_descriptors()

    config = NodeConfig(listen_port=world.host.port)
    with pytest.raises(ConfigError, match="cannot be used"):
        NodeHost(config, world.state, 1400)

    assert open_descriptors() <= before


async def test_a_host_that_was_never_started_can_be_closed_twice(
    world: "World",
) -> None:
    await world.host.close()
    await world.host.close()

    assert world.host.finished.is_set()
    assert world.order == ["stop", "interface closed"]


async def test_what_cannot_be_started_is_closed(
    world: "World", monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: StandInInterface) -> Settlement:
        raise ConfigError("The interface cannot be brought up")

    monkeypatch.setattr(StandInInterface, "settle", refuse)

    with pytest.raises(ConfigError, match="cannot be brought up"):
        async with world.host:
            raise AssertionError("It was started")

    assert world.order == ["stop", "interface closed"]


@pytest.mark.netns
def test_several_hosts_live_in_one_process(lab: Lab) -> None:
    machine = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))

    done = machine.run([sys.executable, "-c", TWO_HOSTS, str(lab.directory)])

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["up: eth0 lo mesh0 mesh1", "down: eth0 lo"]


TWO_HOSTS = """
import asyncio, socket, sys, threading
from pathlib import Path
from meshwg.config import NodeConfig
from meshwg.runtime.host import NodeHost
from meshwg.runtime.packetloop import PacketLoop
from meshwg.runtime.state import StateDirectory, StoredMembership

all_up, all_seen = threading.Barrier(3, timeout=20), threading.Barrier(3, timeout=20)

async def live(number):
    path = Path(sys.argv[1]) / f"state{number}"
    state = StateDirectory(path)
    state.save_membership(StoredMembership("http://192.0.2.99:1", bytes([9] * 32)))
    config = NodeConfig(state_dir=path, interface=f"mesh{number}", port_mapping=False)
    async with NodeHost(config, state, 1400):
        await asyncio.to_thread(all_up.wait)
        await asyncio.to_thread(all_seen.wait)
    state.close()

def run(number):
    with asyncio.Runner(loop_factory=PacketLoop) as runner:
        runner.run(live(number))

def show(when):
    print(f"{when}:", *sorted(name for _, name in socket.if_nameindex()))

threads = [threading.Thread(target=run, args=[number]) for number in range(2)]
for thread in threads:
    thread.start()
all_up.wait()
show("up")
all_seen.wait()
for thread in threads:
    thread.join()
show("down")
"""


class StandInMapper:
    """Keeps nothing mapped, and notes what it is told."""

    def __init__(self, protocol: MappedProtocol) -> None:
        self.protocol = protocol
        self.calls: list[str] = []

    def start(self, port: int) -> None:
        self.calls.append(f"started at {port}")

    def network_changed(self) -> None:
        self.calls.append("network changed")

    async def stop(self) -> None:
        self.calls.append("stopped")


class StandInNode:
    """A node to which an event and datagrams follow from whatever it is told."""

    def __init__(self, order: list[str], whereabouts: SimpleNamespace) -> None:
        self.exits = SimpleNamespace(chosen=None)
        self.whereabouts = whereabouts
        self.device = SimpleNamespace(mtu=0)
        self.relays = SimpleNamespace(remember=lambda credentials: None)
        self.background = self
        self.members = SimpleNamespace(set_apart=lambda is_apart: None, has_ipv6=True)
        self.access = SimpleNamespace(
            set_guard=lambda rules, now: None,
            filter=SimpleNamespace(sightings=SimpleNamespace()),
        )
        self.control = SimpleNamespace(coordinators=SimpleNamespace(current=None))
        self.trust = Trust()
        self.health = Health()
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

    def settle(self) -> None:
        pass

    def stop(self, now: float, for_good: bool = False) -> None:
        self._order.append("stop")


class StandInInterface:
    """An interface of which the system knows nothing."""

    def __init__(self, name: str, mtu: int) -> None:
        self.name = name
        self.index = socket.if_nametoindex(name)
        self.fwmark = 0
        self.is_apart = False
        self.order: list[str] = []

    def settle(self) -> Settlement:
        return Settlement()

    def has_ipv6(self) -> bool:
        return True

    def close(self) -> None:
        self.order.append("interface closed")


class World:
    """A host whose parts say what a test has them say.

    :ivar callbacks: what the parts call, by their names.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: StateDirectory) -> None:
        self.order: list[str] = []
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.whereabouts = SimpleNamespace(looked_at=None)
        self.state = state

        def make_node(*_: object, **__: object) -> StandInNode:
            return StandInNode(self.order, self.whereabouts)

        def make_interface(name: str, mtu: int) -> StandInInterface:
            made = StandInInterface(name, mtu)
            made.order = self.order
            return made

        monkeypatch.setattr(module, "Node", make_node)
        monkeypatch.setattr(module, "MeshInterface", make_interface)
        monkeypatch.setattr(TunDevice, "open", interface_without_privilege)
        for part in ("ControlLink", "Resolver", "PortMapper", "HostNetwork"):
            self._note_callback(monkeypatch, part)
        state.save_membership(StoredMembership("http://127.0.0.1:1", bytes(32)))
        self.host = NodeHost(NodeConfig(), state, 1400)
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
