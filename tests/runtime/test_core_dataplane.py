"""The pump over the core: two interfaces in one process, joined by real sockets.

What threads of the core do is seen from outside: packets that go into one interface
come out of the other one.
"""

import asyncio
import logging
import os
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_network
from typing import cast

import pytest

from meshwg.keys import PrivateKey
from meshwg.runtime import clock
from meshwg.runtime.core_dataplane import CoreDataplane, make_dataplane
from meshwg.runtime.dataplane import Dataplane
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import Endpoint, Transmit
from meshwg.wireguard.core import CompiledCore
from meshwg.wireguard.core_datapath import JUDGED_AT_ONCE, CoreDatapath
from meshwg.wireguard.device import Device
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.filtering import REFUSED
from meshwg.wireguard.peer import Peer
from tests import datapaths
from tests.wireguard.pair import ipv4
from tests.wireguard.test_filtering import Judge

pytestmark = pytest.mark.skipif(
    not datapaths.has_core(), reason="the compiled core is not installed"
)

LINK = 5
PATIENCE = 20.0
FOREVER = float("inf")
CALM = 0.05
"""Seconds without crowds after which one thread of a core carries alone."""


async def test_packets_cross_both_ways_from_the_first_one_on() -> None:
    async with tunnel() as (alice, bob):
        for number in range(50):
            packet = ipv4("10.0.0.1", "10.0.0.2", bytes([number]))
            alice.kernel.send(packet)
            assert await bob.delivered() == packet
            answer = ipv4("10.0.0.2", "10.0.0.1", bytes([number]))
            bob.kernel.send(answer)
            assert await alice.delivered() == answer


async def test_what_was_carried_is_noted_soon() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        before = bob.peer.rx_bytes
        for _ in range(10):
            await alice.says_to(bob)
        await until(lambda: bob.peer.rx_bytes == before + 10 * 64)
        assert bob.peer.endpoint is not None
        assert bob.peer.endpoint.port == alice.port
        assert alice.peer.timers.new_handshake < clock.now() + 20


async def test_a_peer_that_moves_is_answered_at_its_new_place() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        alice.move()
        await alice.says_to(bob)
        await bob.says_to(alice)
        await until(lambda: str(bob.peer.endpoint) == f"127.0.0.1:{alice.port}")


@pytest.mark.parametrize("which", [0, 1], ids=["initiator", "responder"])
async def test_a_panic_is_logged_once_and_the_session_goes_on(
    which: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        session, handshake = alice.peer.current, bob.peer.last_handshake
        failing = (alice, bob)[which].core
        failing.core.fail()
        with caplog.at_level(logging.ERROR):
            await until(lambda: failing.failure is not None)
            for _ in range(5):
                await alice.says_to(bob)
                await bob.says_to(alice)
        assert alice.peer.current is session
        assert bob.peer.last_handshake == handshake
        (record,) = caplog.records
        assert "core failed (a test wants it)" in record.getMessage()
        assert failing.kind == "python"


async def test_a_flood_of_what_it_does_not_know_is_bounded_and_packets_cross() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            for number in range(3000):
                flood.sendto(number.to_bytes(4) * 12, ("127.0.0.1", bob.port))
                if number % 500 == 0:
                    await alice.says_to(bob)
        await alice.says_to(bob)

        def is_through() -> bool:
            drops = bob.device.drops
            return drops[Drop.INVALID_MESSAGE] + drops[Drop.QUEUE_FULL] == 3000

        await until(is_through)


async def test_under_load_what_it_does_not_know_is_taken_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datapaths, "new_core", partial(crowded, datapaths.new_core))
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            for number in range(1500):
                flood.sendto(number.to_bytes(4) * 12, ("127.0.0.1", bob.port))
                if number % 500 == 0:
                    await alice.says_to(bob)

        def is_through() -> bool:
            drops = bob.device.drops
            return drops[Drop.INVALID_MESSAGE] + drops[Drop.QUEUE_FULL] == 1500

        await until(is_through)
        await bob.says_to(alice)


async def test_crowds_and_lone_packets_cross_in_turns() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        assert not alice.core.core.is_crowded()
        for _ in range(3):
            for one, other in ((alice, bob), (bob, alice)):
                await one.crowds_to(other)
            await alice.says_to(bob)
            await bob.says_to(alice)
            # Also once the second thread has surely given the sockets back.
            await asyncio.sleep(2 * CALM)
            await alice.says_to(bob)
            await bob.says_to(alice)
        assert alice.core.failure is bob.core.failure is None


async def test_a_filter_is_asked_once_a_flow_until_it_says_something_else() -> None:
    packet = ipv4("10.0.0.1", "10.0.0.2", bytes(20))
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        judges = Judge(FOREVER), Judge(FOREVER)
        for end, judge in zip((alice, bob), judges, strict=True):
            end.core.set_filter(judge)
        for _ in range(20):
            alice.kernel.send(packet)
            assert await bob.delivered() == packet
        assert [judge.asked for judge in judges] == [
            [(packet, False)],
            [(packet, True)],
        ]

        judges[1].generation, judges[1].until = 1, REFUSED
        bob.pump.turn()
        for _ in range(20):
            alice.kernel.send(packet)
        await until(lambda: bob.device.drops[Drop.DENIED_INBOUND] == 20)

        bob.core.set_filter(None)
        await alice.says_to(bob)


async def test_what_waits_to_be_judged_is_bounded_and_none_passes_meanwhile() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        judge = Judge(REFUSED)
        alice.core.set_filter(judge)
        for number in range(3000):
            # The loop has no turn meanwhile, so that nothing is judged.
            select.select([], [alice.kernel], [])
            alice.kernel.send(ipv4("10.0.0.1", "10.0.0.2", number.to_bytes(20)))
        overflows = alice.core.core.overflows
        await until(lambda: len(judge.asked) + overflows() == 3000)
        assert overflows() > 1000
        assert alice.device.drops[Drop.DENIED_OUTBOUND] == len(judge.asked)
        alice.core.set_filter(None)
        await alice.says_to(bob)


async def test_a_flood_to_one_peer_pushes_out_nothing_that_is_for_another() -> None:
    lone = ipv4("10.0.0.1", "10.0.0.3", b"first of its flow")
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        carol = alice.device.add_peer(PrivateKey.generate(os.urandom).public_bytes)
        alice.device.allowed_ips.insert(ip_network("10.0.0.3"), carol.lane)
        judge = Judge(REFUSED)
        alice.core.set_filter(judge)
        for number in range(3000):
            select.select([], [alice.kernel], [])
            alice.kernel.send(ipv4("10.0.0.1", "10.0.0.2", number.to_bytes(20)))
            if number == 0:
                alice.kernel.send(lone)
        overflows = alice.core.core.overflows
        await until(lambda: len(judge.asked) + overflows() == 3001)
        assert overflows() > 1000
        assert (lone, False) in judge.asked[:JUDGED_AT_ONCE]


async def test_what_goes_over_another_way_is_left_to_it() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        link = RecordingLink()
        alice.pump.add_link(LINK, link)
        endpoint = Endpoint("127.0.0.1", bob.port, LINK)
        alice.device.set_endpoint(alice.peer, endpoint)
        alice.kernel.send(ipv4("10.0.0.1", "10.0.0.2", b"over there"))
        await until(lambda: link.sent != [])
        assert link.sent[0].destination == endpoint
        bob.device.receive_datagrams(
            link.sent[0].datagrams, Endpoint("127.0.0.1", alice.port), clock.now()
        )
        bob.pump.turn()
        assert (await bob.delivered())[20:] == b"over there"


async def test_an_auxiliary_socket_is_read_until_it_is_removed() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        extra = UdpSocket.open(socket.AF_INET, link=LINK)
        bob.pump.add_link(LINK, extra)
        where = Endpoint("127.0.0.1", extra.port)
        alice.device.set_endpoint(alice.peer, where)
        await alice.says_to(bob)
        await until(lambda: bob.link == LINK)
        before = alice.peer.rx_bytes
        await bob.says_to(alice)
        # Until then Alice may yet learn from where that came.
        await until(lambda: alice.peer.rx_bytes > before)
        bob.pump.remove_link(LINK)
        extra.close()
        alice.device.set_endpoint(alice.peer, Endpoint("127.0.0.1", bob.port))
        await alice.says_to(bob)


async def test_without_routes_from_a_source_datagrams_leave_from_any() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        await bob.says_to(alice)
        assert bob.peer.endpoint is not None
        assert bob.peer.endpoint.source is not None
        bob.pump.follow_routes()
        await bob.says_to(alice)
        gone = bob.peer.endpoint.source._replace(host="192.0.2.99", interface=0)
        moved = bob.peer.endpoint._replace(source=gone)
        bob.device.set_endpoint(bob.peer, moved)
        await bob.says_to(alice)
        await until(lambda: bob.unpinned != [])
        assert bob.unpinned[0] == moved.unpinned()


async def test_it_carries_again_after_it_was_stopped() -> None:
    async with tunnel() as (alice, bob):
        await alice.says_to(bob)
        bob.pump.stop()
        alice.kernel.send(ipv4("10.0.0.1", "10.0.0.2", b"kept by the kernel"))
        await asyncio.sleep(0.05)
        bob.pump.start(bob.sockets)
        assert (await bob.delivered())[20:] == b"kept by the kernel"
        await bob.says_to(alice)


async def test_only_the_core_needs_this() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        tun = TunDevice(near.detach(), "wg0", has_vnet_header=False)
        device = Device(random=os.urandom, unix_time=clock.unix_time)
        plain = make_dataplane(
            device, datapaths.python(), tun, on_tun_gone=lambda: None
        )
        assert type(plain) is Dataplane
        tun.close()


class Crowded:
    """A core whose threads always have a lot to carry."""

    def __init__(self, core: CompiledCore) -> None:
        self._core = core

    def __getattr__(self, name: str) -> object:
        return getattr(self._core, name)

    def is_crowded(self) -> bool:
        return True


def crowded(
    new_core: Callable[..., CompiledCore], *, roaming: bool = True
) -> CompiledCore:
    """Return a core that says so."""
    return cast("CompiledCore", Crowded(new_core(roaming=roaming)))


class RecordingLink:
    """A link that notes what it is to send."""

    def __init__(self) -> None:
        self.sent: list[Transmit] = []

    def send(self, transmit: Transmit) -> bool:
        self.sent.append(transmit)
        return True


class CoreSide:
    """One interface, and the kernel's side of it."""

    def __init__(self, address: str) -> None:
        near, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        self.kernel.setblocking(False)
        self.address = address
        self.unpinned: list[Endpoint] = []
        self.tun = TunDevice(near.detach(), "wg0", has_vnet_header=False)
        datapath = datapaths.core()
        assert isinstance(datapath, CoreDatapath)
        self.core = datapath
        self.device = Device(
            random=os.urandom, unix_time=clock.unix_time, datapath=datapath
        )
        self.device.set_private_key(PrivateKey.generate(os.urandom))
        self.pump = make_dataplane(
            self.device, datapath, self.tun, on_tun_gone=lambda: None
        )
        assert isinstance(self.pump, CoreDataplane)
        self.sockets = self._open()

    def _open(self) -> UdpSockets:
        sock = UdpSocket.open(socket.AF_INET, on_unpinned=self.unpinned.append)
        return UdpSockets(sock, None)

    @property
    def port(self) -> int:
        return self.sockets.port

    @property
    def link(self) -> int | None:
        """The socket that its peer was heard at."""
        return None if self.peer.endpoint is None else self.peer.endpoint.link

    @property
    def peer(self) -> Peer:
        (peer,) = self.device.peers.values()
        return peer

    def know(self, other: "CoreSide") -> None:
        key = other.device.private_key
        assert key is not None
        peer = self.device.add_peer(key.public_bytes)
        self.device.allowed_ips.insert(ip_network(other.address), peer.lane)

    def start(self) -> None:
        self.device.up(clock.now())
        self.pump.start(self.sockets)

    def move(self) -> None:
        """Go on from another port."""
        before, self.sockets = self.sockets, self._open()
        self.pump.start(self.sockets)
        before.close()

    async def delivered(self) -> bytes:
        """Return the next packet that the kernel gets."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            return await loop.sock_recv(self.kernel, 65536)

    async def says_to(self, other: "CoreSide") -> None:
        """Let one packet cross."""
        packet = ipv4(self.address, other.address, os.urandom(8))
        self.kernel.send(packet)
        while await other.delivered() != packet:
            pass

    async def crowds_to(self, other: "CoreSide") -> None:
        """Let many packets cross, until the core says that they come in crowds."""
        packet = ipv4(self.address, other.address, bytes(8))
        for _ in range(100):
            for _ in range(8):
                with suppress(BlockingIOError):
                    self.kernel.send(packet)
            await asyncio.sleep(0)
            other.drain()
        await until(self.core.core.is_crowded)
        # What is still on its way would fill the kernel's side, which is short.
        await until(lambda: not other.drain() and not self.core.core.is_crowded())

    def drain(self) -> int:
        """Forget what the kernel got, and return how many packets that was."""
        count = 0
        with suppress(BlockingIOError):
            while self.kernel.recv(65536):
                count += 1
        return count

    def close(self) -> None:
        self.pump.stop()
        self.sockets.close()
        self.tun.close()
        self.kernel.close()


@asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[CoreSide, CoreSide]]:
    """Alice knows where Bob is."""
    alice, bob = CoreSide("10.0.0.1"), CoreSide("10.0.0.2")
    try:
        alice.know(bob)
        bob.know(alice)
        alice.device.set_endpoint(alice.peer, Endpoint("127.0.0.1", bob.port))
        bob.start()
        alice.start()
        yield alice, bob
    finally:
        alice.close()
        bob.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what threads do, of which nobody tells."""
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
