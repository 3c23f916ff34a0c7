"""An address that asks too much of a coordinator is limited; others are served."""

import contextlib
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from coordinator.control.settings import Settings
from coordinator.runtime.admission import EXCHANGE_TIMEOUT, EXCHANGES_PER_ADDRESS
from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.meshes import PORT, Coordinator, Member

pytestmark = pytest.mark.netns

UPGRADE = b"\r\n".join(
    [
        b"GET /v1/control HTTP/1.1",
        b"Host: coordinator",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"\r\n",
    ]
)
NEW = Settings().new_connections_per_address


class Greedy:
    """A host that takes as many connections as it gets."""

    def __init__(self, lab: Lab, name: str, target: Host) -> None:
        self.host = lab.add_host(name, lab.internet)
        self.held: list[socket.socket] = []
        self._target = target.address(), PORT

    def connect(self, request: bytes = b"") -> socket.socket:
        """Open a connection, and say something."""
        made = self.host.call(lambda: socket.create_connection(self._target, 5))
        self.held.append(made)
        made.sendall(request)
        return made

    def close(self) -> None:
        for connection in self.held:
            connection.close()


@pytest.fixture
def coordinator(lab: Lab) -> Coordinator:
    return Coordinator.on_the_internet(lab)


@pytest.fixture
def greedy(lab: Lab, coordinator: Coordinator) -> Iterator[list[Greedy]]:
    made = [Greedy(lab, f"greedy-{n}", coordinator.host) for n in range(3)]
    yield made
    for each in made:
        each.close()


def test_one_address_holds_little_and_not_for_long(
    lab: Lab, coordinator: Coordinator, greedy: list[Greedy]
) -> None:
    strangers, undecided, slow = greedy
    for _ in range(NEW):
        assert status(strangers.connect(UPGRADE)) == 101
    assert status(strangers.connect(UPGRADE)) == 503
    for number in range(EXCHANGES_PER_ADDRESS):
        undecided.connect(UPGRADE[: number % 30])
    assert is_cut(undecided.connect())
    letters = slow.connect(UPGRADE[:-2] + b"X-Slow: ")

    # Everybody else is served.
    Member(lab.add_host("alice", lab.internet)).join(coordinator.token())
    assert metric(coordinator, "meshwg_connections ") == NEW + 1
    assert metric(coordinator, 'meshwg_tcp_cut_total{why="refused"}') == 1

    deadline = time.monotonic() + EXCHANGE_TIMEOUT + 15
    while has_connections(coordinator, greedy) and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError):
            letters.sendall(b"a")
        time.sleep(0.2)
    assert not has_connections(coordinator, greedy)
    late = metric(coordinator, 'meshwg_tcp_cut_total{why="late"}')
    assert late == EXCHANGES_PER_ADDRESS + 1
    assert {status(each.connect(UPGRADE)) for each in greedy} == {101}


def test_anything_but_http_is_counted_and_not_logged(
    coordinator: Coordinator, greedy: list[Greedy]
) -> None:
    garbage = [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\0hello\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    ]
    for each in garbage:
        assert status(greedy[0].connect(each)) == 400

    # What does not even begin like a request is nothing that aiohttp would log.
    malformed = metric(coordinator, 'meshwg_tcp_cut_total{why="malformed"}')
    assert malformed == len(garbage) - 1
    assert coordinator.process is not None
    (ready,) = coordinator.process.output().splitlines()
    assert ready.startswith("meshwg-coordinator ready")


def status(connection: socket.socket) -> int:
    """Return the HTTP status of an answer."""
    return int(connection.recv(4096).split()[1])


def is_cut(connection: socket.socket) -> bool:
    """Tell whether the other side closes or resets the connection at once."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def metric(coordinator: Coordinator, line: str) -> float:
    """Return a figure of ``/metrics``."""

    def fetch() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics") as response:
            return str(response.read().decode())

    text = coordinator.host.call(fetch)
    (found,) = [each for each in text.splitlines() if each.startswith(line)]
    return float(found.split()[-1])


def has_connections(coordinator: Coordinator, greedy: list[Greedy]) -> bool:
    """Tell whether the coordinator has a connection from any of them."""
    command = ["ss", "-Htn", "state", "established", f"sport = :{PORT}"]
    peers = coordinator.host.run(command).stdout
    return any(each.host.address() in peers for each in greedy)
