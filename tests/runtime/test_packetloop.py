"""The loop of packets: who waits, and what else has its turn."""

import asyncio
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshwg.runtime.packetloop import PacketLoop, Poll
from tests.descriptors import open_descriptors

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
    with other, wake, carrying(near, order):
        loop.add_reader(other, order.note, "other")
        wake.send(b"x")
        far.send(b"packet")
        await order.until(2)
        loop.remove_reader(other)
    assert order.notes[:2] == [b"packet", "other"]


async def test_the_carrier_waits_no_longer_than_the_loop_would(pair: Pair) -> None:
    with carrying(pair[0], Notes()):
        async with asyncio.timeout(10):
            await asyncio.sleep(0.01)


async def test_without_a_carrier_the_loop_waits_by_itself(pair: Pair) -> None:
    loop, (near, far), order = packet_loop(), pair, Notes()
    with carrying(near, order):
        loop.set_carrier(None)
        far.send(b"packet")
        await asyncio.sleep(0.01)
        assert order.notes == []


async def test_calls_from_other_threads_are_not_kept_waiting(pair: Pair) -> None:
    near, far = pair
    with carrying(near, Notes()):
        far.send(b"packet")
        answer = await packet_loop().run_in_executor(None, os.getpid)
    assert answer == os.getpid()


async def test_a_carrier_that_fails_is_reported_and_reconnected(pair: Pair) -> None:
    loop, (near, far), reports = packet_loop(), pair, Notes()

    def fail(poll: Poll, timeout: float | None) -> bool:
        if poll(timeout, 1) == [(near.fileno(), select.EPOLLIN)]:
            near.recv(99)
            raise ValueError("Not this packet")
        return True

    loop.set_exception_handler(lambda _, context: reports.note(context["exception"]))
    loop.add_packet_descriptor(near.fileno())
    loop.set_carrier(fail)
    far.send(b"1")
    far.send(b"2")
    await reports.until(2)
    loop.set_carrier(None)
    loop.remove_packet_descriptor(near.fileno())
    loop.set_exception_handler(None)
    assert [str(error) for error in reports.notes] == ["Not this packet"] * 2


def test_a_closed_loop_has_closed_its_descriptors() -> None:
    before = open_descriptors()
    loop = PacketLoop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert open_descriptors() <= before


class Notes:
    """What happened, in its order."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def note(self, what: object) -> None:
        self.notes.append(what)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.notes) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@contextmanager
def carrying(sock: socket.socket, order: Notes) -> Iterator[None]:
    """Have a carrier note what a socket receives."""

    def carry(poll: Poll, timeout: float | None) -> bool:
        ready = [descriptor for descriptor, _ in poll(timeout, 9)]
        if sock.fileno() in ready:
            order.note(sock.recv(99))
        return ready != [sock.fileno()]

    loop = packet_loop()
    loop.add_packet_descriptor(sock.fileno())
    loop.set_carrier(carry)
    try:
        yield
    finally:
        loop.set_carrier(None)
        loop.remove_packet_descriptor(sock.fileno())


def packet_loop() -> PacketLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PacketLoop)
    return loop
