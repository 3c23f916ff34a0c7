"""Streams to peers over the system's TCP."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import pytest

from meshwg.runtime import tcp as module
from meshwg.runtime.tcp import ACCEPTED, BACKLOG, PeerStream, TcpPort, refuse
from meshwg.transmit import Endpoint, Transmit
from tests.descriptors import open_descriptors

HERE = "127.0.0.1"


@pytest.fixture
async def port() -> AsyncIterator[TcpPort]:
    opened = TcpPort.open(0)
    assert opened is not None
    yield opened
    opened.close()


async def test_messages_go_both_ways(port: TcpPort) -> None:
    ends = Ends(port)
    ends.dial()
    await ends.until(lambda: len(ends.log) == 2)

    for sender in (ends.dialled, ends.accepted):
        assert sender is not None
        sender.send(Transmit(Endpoint(HERE, 1, -1), [b"one", b"two"]))

    await ends.until(lambda: ends.log.count("data onetwo") == 2)
    ends.close()


async def test_the_port_of_the_datagrams_is_taken_if_it_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("", 0))
        free = probe.getsockname()[1]
    first, second = TcpPort.open(free), TcpPort.open(free)
    assert first is not None
    assert second is not None
    try:
        assert first.port == free
        assert second.port != free
    finally:
        first.close()
        second.close()


async def test_streams_of_one_hole_share_a_port_where_nobody_listens(
    port: TcpPort,
) -> None:
    ends = Ends(port)
    other = TcpPort.open(0)
    assert other is not None
    other_ends = Ends(other)

    ends.dial(hole=1)
    stream = port.dial(Endpoint(HERE, other.port), 1)
    start(stream, ends.log)
    await ends.until(lambda: bool(ends.remotes and other_ends.remotes))

    assert ends.remotes[0].port == other_ends.remotes[0].port != port.port
    with socket.socket() as stranger, pytest.raises(ConnectionRefusedError):
        stranger.connect((HERE, ends.remotes[0].port))
    for each in (ends, other_ends):
        each.close()
    stream.close()
    other.close()


async def test_a_refused_dial_is_reported(port: TcpPort) -> None:
    with socket.socket() as closed:
        closed.bind((HERE, 0))
        log: list[str] = []
        stream = port.dial(Endpoint(HERE, closed.getsockname()[1]))
        start(stream, log)

        await until(lambda: bool(log))

    assert log == ["closed Connection refused"]


async def test_an_opener_that_ends_on_the_way_goes_on_connecting(port: TcpPort) -> None:
    ends = Ends(port)
    ends.dial(ttl=1)  # The machine itself is no hop away.

    await ends.until(lambda: "open" in ends.log)

    ends.close()


async def test_a_closed_stream_leaves_no_descriptor_and_says_nothing(
    port: TcpPort,
) -> None:
    ends = Ends(port)
    before = open_descriptors()
    for _ in range(3):
        ends.dial()
        ends.close()
        await asyncio.sleep(0.02)
    await ends.until(lambda: open_descriptors() <= before)

    assert not any(entry.startswith("closed") for entry in ends.log)


async def test_the_far_end_that_closes_is_reported(port: TcpPort) -> None:
    ends = Ends(port)
    ends.dial()
    await ends.until(lambda: len(ends.log) == 2)
    assert ends.accepted is not None

    ends.accepted.close()

    await ends.until(lambda: any("closed" in entry for entry in ends.log))
    ends.close()


async def test_without_descriptors_it_accepts_later_and_does_not_spin(
    port: TcpPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)
    ends = Ends(port)
    accepting = Exhausted()

    port._accept(accepting)
    ends.dial()

    await ends.until(lambda: ends.accepted is not None)

    assert accepting.tries == 1
    accepting.close()
    ends.close()


@pytest.mark.parametrize("window", [0.02, 3600.0])
async def test_connections_that_come_too_fast_wait(
    port: TcpPort, monkeypatch: pytest.MonkeyPatch, window: float
) -> None:
    monkeypatch.setattr(module, "WINDOW", window)
    accepted: list[socket.socket] = []
    port.start(lambda sock, remote: accepted.append(sock))
    most = ACCEPTED + BACKLOG // 2
    callers = [await connected(port.port) for _ in range(most)]

    wanted = most if window < 1 else ACCEPTED
    await until(lambda: len(accepted) == wanted)
    await asyncio.sleep(0.05)
    assert len(accepted) == wanted
    for sock in (*callers, *accepted):
        sock.close()


async def test_whoever_is_refused_is_told_and_nothing_is_kept(port: TcpPort) -> None:
    port.start(lambda sock, remote: refuse(sock))
    with pytest.raises(ConnectionResetError), await connected(port.port) as caller:
        await asyncio.get_running_loop().sock_recv(caller, 1)


async def connected(port: int) -> socket.socket:
    """Return a connection to a port of this machine."""
    sock = socket.socket()
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (HERE, port))
    except OSError:
        sock.close()
        raise
    return sock


class Exhausted(socket.socket):
    """A listener for whose connections there are no descriptors."""

    tries = 0

    def accept(self) -> NoReturn:
        self.tries += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class Ends:
    """Both ends of a stream to a port of this machine, and what they report."""

    def __init__(self, port: TcpPort) -> None:
        self.log: list[str] = []
        self.remotes: list[Endpoint] = []
        self.dialled: PeerStream | None = None
        self.accepted: PeerStream | None = None
        self._port = port
        port.start(self._accept)

    def dial(self, hole: int | None = None, ttl: int | None = None) -> None:
        self.dialled = self._port.dial(Endpoint(HERE, self._port.port), hole, ttl)
        start(self.dialled, self.log)

    def close(self) -> None:
        for stream in (self.dialled, self.accepted):
            if stream is not None:
                stream.close()
        self.dialled = self.accepted = None

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    def _accept(self, sock: socket.socket, remote: Endpoint) -> None:
        self.remotes.append(remote)
        self.accepted = PeerStream(sock)
        start(self.accepted, self.log)


def start(stream: PeerStream, log: list[str]) -> None:
    stream.start(
        on_open=lambda: log.append("open"),
        on_data=lambda data: log.append(f"data {data.decode()}"),
        on_close=lambda reason: log.append(f"closed {reason}"),
    )


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it has not come to that")
