"""UDP sockets on the event loop."""

import socket

import pytest

from coordinator.runtime import sockets as sockets_module
from coordinator.runtime.sockets import BatchSocket
from meshwg.transmit import Endpoint, Transmit
from tests.coordinator.runtime.relaying import until
from tests.interop.relays import HOST


async def test_a_socket_that_blocks_keeps_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets_module, "BACKLOG", 10_000)
    udp = BlockingSocket()
    sock = BatchSocket(udp, lambda datagrams, source: None)  # type: ignore[arg-type]
    target = Endpoint(HOST, 9)
    for number in range(100):
        sock.send(Transmit(target, [b"%04d" % number * 250]))

    udp.is_stuck = False
    await until(lambda: len(udp.sent) > 5)

    assert udp.sent[0] == b"0000"
    assert udp.sent[-1] == b"0099"
    assert len(udp.sent) == 11
    assert sock.dropped == 89
    sock.close()


class BlockingSocket:
    """A UdpSocket whose first batch blocks until a test says otherwise."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._waiting: list[Transmit] = []
        self.sent: list[bytes] = []
        self.is_stuck = True

    @property
    def is_blocked(self) -> bool:
        return bool(self._waiting)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> None:
        return None

    def send(self, transmit: Transmit) -> bool:
        self._waiting.append(transmit)
        return self.flush()

    def flush(self) -> bool:
        if not self.is_stuck:
            self.sent += [each.datagrams[0][:4] for each in self._waiting]
            self._waiting.clear()
        return not self._waiting

    def close(self) -> None:
        self._socket.close()
