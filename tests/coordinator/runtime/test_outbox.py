"""Outboxes: messages stay in order, and a slow reader delays no other."""

import asyncio
from typing import cast

import pytest
from aiohttp import web

from coordinator.runtime import outbox
from coordinator.runtime.outbox import Outbox
from meshwg.wire.control import CloseCode


class SlowSocket:
    """A WebSocket that takes a frame only when it is let."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.code: int | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def send_bytes(self, frame: bytes) -> None:
        await self.open.wait()
        if self.broken:
            raise ConnectionResetError
        self.sent.append(frame)

    async def close(self, *, code: int) -> None:
        self.code = code


async def test_frames_leave_in_order_and_then_it_closes() -> None:
    socket, box, _ = make()
    for number in range(5):
        box.send(bytes([number]))
    box.close(1000)
    await box.flush()
    assert socket.sent == [bytes([number]) for number in range(5)]
    assert socket.code == 1000


async def test_a_reader_that_is_too_slow_is_reported_each_time() -> None:
    socket, box, told = make()
    socket.open.clear()
    for _ in range(3):
        box.send(bytes(outbox.FULL // 2))
    assert told == [False]
    socket.open.set()
    await box.flush()
    assert told == [False, True]
    assert len(socket.sent) == 3


async def test_a_reader_that_never_catches_up_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "LIMIT", 1000)
    socket, box, _ = make()
    socket.open.clear()
    for _ in range(20):
        box.send(bytes(100))
    socket.open.set()
    await box.flush()
    assert socket.code == CloseCode.SLOW
    assert len(socket.sent) < 20


async def test_a_broken_connection_ends_quietly() -> None:
    socket, box, _ = make()
    socket.broken = True
    box.send(b"x")
    await box.flush()
    box.send(b"y")
    await box.stop()
    assert socket.sent == []


async def test_stopping_forgets_what_was_not_sent() -> None:
    socket, box, _ = make()
    socket.open.clear()
    box.send(b"x")
    await asyncio.sleep(0)
    await box.stop()
    await box.stop()
    assert socket.sent == []


def make() -> tuple[SlowSocket, Outbox, list[bool]]:
    socket, told = SlowSocket(), list[bool]()
    return socket, Outbox(cast(web.WebSocketResponse, socket), told.append), told
