"""Hosts and UDP sockets for tests of both families, and how to read from them."""

import select
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.runtime.udp_receiver import UdpReceiver
from meshwg.transmit import Endpoint
from netlab.lab import Lab
from netlab.machine import Host

FAMILIES = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
NOWHERE = Endpoint("192.0.2.1", 9)


def pair(lab: Lab) -> tuple[Host, Host]:
    """Return two hosts on one cable."""
    cable = lab.add_switch("cable", "10.99.0.0/24", "fd99::/64")
    return lab.add_host("a", cable), lab.add_host("b", cable)


@contextmanager
def opened(host: Host) -> Iterator[UdpSockets]:
    """Give sockets that live on a host."""
    with closing(host.call(UdpSockets.open)) as sockets:
        yield sockets


def endpoint_of(host: Host, version: int, sockets: UdpSockets) -> Endpoint:
    return Endpoint(host.address(version), sockets.port)


def of_version(sockets: UdpSockets, version: int) -> UdpSocket:
    sock = sockets.ipv4 if version == 4 else sockets.ipv6
    assert sock is not None
    return sock


def receive_all(sock: UdpReceiver) -> tuple[list[bytes], Endpoint]:
    """Wait for something, and return all that is there and who sent the last."""
    wait_readable(sock)
    datagrams: list[bytes] = []
    endpoint = NOWHERE
    while (received := sock.receive()) is not None:
        datagrams += received[0]
        endpoint = received[1]
    return datagrams, endpoint


def wait_readable(sock: UdpReceiver) -> None:
    assert select.select([sock], [], [], 5)[0], "nothing arrived"
