"""Accepting connections, also where the system has no room for them."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from meshwg.runtime import acceptor
from meshwg.runtime.acceptor import Acceptor


async def test_every_connection_is_handed_over(tmp_path: Path) -> None:
    taken: list[socket.socket] = []
    accepting = Acceptor(listening(tmp_path / "sock"), taken.append, "The socket")
    clients = [connected(tmp_path / "sock") for _ in range(40)]
    await until(lambda: len(taken) == len(clients))

    accepting.close()

    assert not any(each.getblocking() for each in taken)
    for each in (*clients, *taken):
        each.close()


async def test_a_system_without_room_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "RETRY_INTERVAL", 0.01)
    taken: list[socket.socket] = []
    sock = FullSystem.listening(tmp_path / "sock")
    accepting = Acceptor(sock, taken.append, "The socket")
    client = connected(tmp_path / "sock")

    await until(lambda: sock.attempts >= 5)
    assert taken == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "The socket takes no connections for now" in caplog.text
    assert "Traceback" not in caplog.text

    sock.is_full = False
    await until(lambda: len(taken) == 1)
    accepting.close()
    client.close()
    taken[0].close()


async def test_it_can_be_closed_while_it_pauses(tmp_path: Path) -> None:
    sock = FullSystem.listening(tmp_path / "sock")
    accepting = Acceptor(sock, lambda _: None, "The socket")
    client = connected(tmp_path / "sock")
    await until(lambda: sock.attempts == 1)

    accepting.close()

    assert sock.fileno() == -1
    client.close()


class FullSystem(socket.socket):
    """A listening socket for which there are no descriptors."""

    attempts = 0
    is_full = True

    @classmethod
    def listening(cls, path: Path) -> "FullSystem":
        sock = cls(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        return sock

    def accept(self) -> tuple[socket.socket, object]:
        self.attempts += 1
        if self.is_full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError
