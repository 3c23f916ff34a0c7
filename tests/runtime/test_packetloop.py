"""The loop of packets: whose turn it is, and what ends or survives a turn."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshwg.runtime.packetloop import TURN, PacketLoop

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        yield near, far


async def test_packets_come_before_what_was_there_first(pair: Pair) -> None:
    loop, (near, far), order = packet_loop(), pair, Notes()
    other, wake = socket.socketpair()
    with other, wake:
        loop.add_reader(other, order.note, "other")
        loop.add_packet_reader(near.fileno(), order.reading(near))
        wake.send(b"x")
        far.send(b"packet")
        await order.until(2)
        loop.remove_reader(other)
        loop.remove_packet_reader(near.fileno())
    assert order.notes[:2] == [b"packet", "other"]


async def test_the_quiet_handler_follows_the_packets(pair: Pair) -> None:
    loop, (near, far), order = packet_loop(), pair, Notes()
    loop.add_packet_reader(near.fileno(), order.reading(near))
    loop.set_quiet_handler(lambda: order.note("quiet"))
    far.send(b"1")
    far.send(b"2")
    await order.until(3)
    loop.remove_packet_reader(near.fileno())
    loop.set_quiet_handler(None)
    assert order.notes == [b"1", b"2", "quiet"]


async def test_without_packets_nothing_is_quiet(pair: Pair) -> None:
    loop, order = packet_loop(), Notes()
    loop.set_quiet_handler(lambda: order.note("quiet"))
    await asyncio.sleep(0.01)
    loop.set_quiet_handler(None)
    assert order.notes == []


async def test_a_flood_of_packets_leaves_the_rest_its_turn(pair: Pair) -> None:
    loop, (near, far) = packet_loop(), pair
    served = 0

    def serve_and_ask_for_more(_: int) -> None:
        nonlocal served
        served += 1
        far.send(near.recv(99))

    loop.add_packet_reader(near.fileno(), serve_and_ask_for_more)
    far.send(b"endless")
    await asyncio.sleep(2 * TURN)
    loop.remove_packet_reader(near.fileno())
    assert served > 1


async def test_calls_from_other_threads_are_not_kept_waiting(pair: Pair) -> None:
    loop, (near, far), order = packet_loop(), pair, Notes()
    loop.add_packet_reader(near.fileno(), order.reading(near))
    far.send(b"packet")
    answer = await loop.run_in_executor(None, os.getpid)
    loop.remove_packet_reader(near.fileno())
    assert answer == os.getpid()


async def test_a_handler_that_fails_is_reported_and_called_again(pair: Pair) -> None:
    loop, (near, far), reports = packet_loop(), pair, Notes()

    def fail(_: int) -> None:
        near.recv(99)
        raise ValueError("Not this packet")

    loop.set_exception_handler(lambda _, context: reports.note(context["exception"]))
    loop.add_packet_reader(near.fileno(), fail)
    far.send(b"1")
    far.send(b"2")
    await reports.until(2)
    loop.remove_packet_reader(near.fileno())
    loop.set_exception_handler(None)
    assert [str(error) for error in reports.notes] == ["Not this packet"] * 2


async def test_a_handler_may_remove_another_that_is_ready(pair: Pair) -> None:
    loop, (near, far), order = packet_loop(), pair, Notes()
    second, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    both = {near.fileno(): near, second.fileno(): second}

    def remove_all(_: int) -> None:
        order.note("served")
        for descriptor in both:
            loop.remove_packet_reader(descriptor)

    with second, other:
        for descriptor in both:
            loop.add_packet_reader(descriptor, remove_all)
        far.send(b"1")
        other.send(b"2")
        await order.until(1)
        await asyncio.sleep(0.01)
    assert order.notes == ["served"]


def test_a_closed_loop_has_closed_its_descriptors() -> None:
    before = os.listdir("/proc/self/fd")
    loop = PacketLoop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert os.listdir("/proc/self/fd") == before


class Notes:
    """What happened, in its order."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def note(self, what: object) -> None:
        self.notes.append(what)

    def reading(self, sock: socket.socket) -> Callable[[int], None]:
        return lambda _: self.note(sock.recv(99))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.notes) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def packet_loop() -> PacketLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PacketLoop)
    return loop
