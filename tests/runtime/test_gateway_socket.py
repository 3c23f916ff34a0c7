"""The sockets towards a gateway, on the loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshwg.nat.gateway import ANNOUNCEMENT_PORT, SERVER_PORT
from meshwg.runtime import gateway_socket as module
from meshwg.runtime.default_gateway import Gateway
from meshwg.runtime.gateway_socket import EVERY_HOST4, Announcements, GatewayDriver
from meshwg.transmit import Endpoint, Transmit
from tests.runtime.fake_router import next_host, until

LOCAL = "127.0.0.1"


async def test_questions_reach_the_gateway_and_answers_the_machine() -> None:
    machine = Machine([b"one", b"two"])
    async with echo() as gateway, driving(machine, gateway) as driver:
        driver.turn()
        await until(lambda: len(machine.received) == 2)
    source = Endpoint(gateway.address, SERVER_PORT)
    assert machine.received == [(b"ONE", source), (b"TWO", source)]


async def test_datagrams_from_elsewhere_never_arrive() -> None:
    machine = Machine([b"one"])
    async with echo() as gateway, driving(machine, gateway) as driver:
        driver.turn()
        await until(lambda: machine.received)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"lie", (LOCAL, machine.port_of(driver)))
        machine.outbox.append(b"two")
        driver.turn()
        await until(lambda: len(machine.received) == 2)
    assert [data for data, _ in machine.received] == [b"ONE", b"TWO"]


async def test_a_closed_port_is_reported() -> None:
    machine = Machine([b"one"])
    async with driving(machine, Gateway(next_host(), LOCAL)) as driver:
        driver.turn()
        await until(lambda: machine.unreachable)


async def test_a_gateway_that_cannot_be_sent_to_is_like_a_silent_one() -> None:
    machine = Machine([b"one"])
    async with driving(machine, Gateway("127.0.0.1", "192.0.2.77")) as driver:
        driver.turn()
        assert not machine.outbox


async def test_requests_to_the_gateway_carry_the_nodes_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks: list[int] = []
    monkeypatch.setattr(module, "set_fwmark", lambda sock, mark: marks.append(mark))
    async with driving(Machine([]), Gateway(next_host(), LOCAL, 0x01000000)):
        assert marks == [0x01000000]


async def test_the_timer_fires_and_the_end_is_reported() -> None:
    machine = Machine([])
    machine.due = asyncio.get_running_loop().time()
    turns = []
    driver = GatewayDriver(machine, lambda: turns.append(len(machine.timers)))
    driver.turn()
    await driver.finished.wait()
    assert turns == [0, 1]
    driver.close()


async def test_a_taken_port_for_announcements_is_not_an_error() -> None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with holder:
        try:
            holder.bind((EVERY_HOST4, ANNOUNCEMENT_PORT))
        except OSError:
            """Another program holds it already, which is just as good."""
        heard: list[bytes] = []
        listener = Announcements(
            Gateway(next_host(), LOCAL), lambda data, source: heard.append(data)
        )
        listener.close()
        listener.close()
    assert not heard


class Machine:
    """Says what it is told to and notes what it hears; done after its timer."""

    def __init__(self, outbox: list[bytes]) -> None:
        self.outbox = outbox
        self.received: list[tuple[bytes, Endpoint]] = []
        self.unreachable: list[float] = []
        self.timers: list[float] = []
        self.due: float | None = None

    @property
    def finished(self) -> bool:
        return bool(self.timers)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        self.received.append((data, source))

    def receive_unreachable(self, now: float) -> None:
        self.unreachable.append(now)

    def handle_timer(self, now: float) -> None:
        self.timers.append(now)
        self.due = None

    def get_timer(self) -> float | None:
        return self.due

    def datagrams_to_send(self) -> list[Transmit]:
        datagrams, self.outbox = self.outbox, []
        return [Transmit(Endpoint("", 0), datagrams)]

    @staticmethod
    def port_of(driver: GatewayDriver) -> int:
        assert driver._socket is not None
        return int(driver._socket.getsockname()[1])


@asynccontextmanager
async def driving(machine: Machine, gateway: Gateway) -> AsyncIterator[GatewayDriver]:
    driver = GatewayDriver(machine)
    driver.connect(gateway)
    try:
        yield driver
    finally:
        driver.close()


@asynccontextmanager
async def echo() -> AsyncIterator[Gateway]:
    """Answer questions in capitals."""
    host = next_host()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        Echo, local_addr=(host, SERVER_PORT)
    )
    try:
        yield Gateway(host, LOCAL)
    finally:
        transport.close()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data.upper(), addr)  # type: ignore[attr-defined]
