"""Which endpoints get a socket of their own, when, and which ones lose it."""

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest

from meshwg.runtime.connected_udp import ConnectedUdpSocket
from meshwg.runtime.peersockets import (
    CONNECT_AFTER,
    MAX_CONNECTED,
    MAX_COUNTED,
    PeerSockets,
)
from meshwg.runtime.routes import Routes
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import Endpoint, Source, Transmit

LOCAL = Source("127.0.0.1", 1)
PEER = Endpoint("127.0.0.1", 7, source=LOCAL)


class World:
    """Peers' own sockets, next to those for all, and who was told of them."""

    def __init__(self, sockets: UdpSockets) -> None:
        self.sockets = sockets
        self.read: list[Endpoint | None] = []
        self.own = PeerSockets(
            lambda sock: self.read.append(sock.remote),
            lambda sock: self.read.remove(sock.remote),
        )

    def follow(self, source: Source | None) -> None:
        """Let the routes of all endpoints lead from a source."""
        routes = cast(Routes, Leading(source))
        for sock in self.sockets:
            sock.follow_routes(routes)
        self.own.follow_routes(routes)

    def send(self, endpoint: Endpoint = PEER, count: int = CONNECT_AFTER) -> None:
        for _ in range(count):
            self.sockets.send(Transmit(endpoint, [b""]))
            self.own.sent_alone(endpoint, self.sockets)


class Leading:
    """Routes that all lead from one source."""

    def __init__(self, source: Source | None) -> None:
        self.source = source

    def source_for(self, endpoint: Endpoint, sock: socket.socket) -> Source | None:
        return self.source


@pytest.fixture
def world() -> Iterator[World]:
    with closing(UdpSockets.open()) as sockets:
        world = World(sockets)
        yield world
        world.own.close_all()


def test_an_endpoint_earns_its_socket_with_some_lone_packets(world: World) -> None:
    world.send(count=CONNECT_AFTER - 1)
    assert world.own.get(PEER) is None
    world.send(count=1)
    own = world.own.get(PEER)
    assert own is not None
    assert own.remote is PEER
    assert own.port == world.sockets.port
    assert world.read == [PEER]


@pytest.mark.parametrize(
    "endpoint",
    [PEER._replace(source=None), PEER._replace(link=3)],
    ids=["no source", "another link"],
)
def test_what_cannot_be_connected_is_not(world: World, endpoint: Endpoint) -> None:
    world.send(endpoint)
    assert world.read == []


def test_a_family_without_a_socket_gets_none(world: World) -> None:
    assert world.sockets.ipv4 is not None
    alone = World(UdpSockets(world.sockets.ipv4, None))
    alone.send(Endpoint("::1", 7, source=Source("::1", 1)))
    assert alone.read == []


def test_what_the_system_refuses_is_not_tried_with_every_packet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(_: UdpSocket, remote: Endpoint) -> ConnectedUdpSocket:
        tried.append(remote)
        raise OSError(errno.ENOPROTOOPT, "The kernel is too old")

    monkeypatch.setattr(UdpSocket, "connected", refuse)
    world.send(count=5 * CONNECT_AFTER)
    assert tried == [PEER]
    assert world.own.get(PEER) is None
    assert world.read == []


def test_after_a_socket_is_closed_the_next_one_takes_as_many_packets(
    world: World,
) -> None:
    world.send()
    world.own.close(PEER)
    assert world.own.get(PEER) is None
    assert world.read == []
    world.send(count=CONNECT_AFTER - 1)
    assert world.own.get(PEER) is None
    world.send(count=1)
    assert world.read == [PEER]


def test_the_oldest_socket_is_replaced_by_a_new_one(world: World) -> None:
    endpoints = [PEER._replace(port=1000 + n) for n in range(MAX_CONNECTED + 1)]
    for each in endpoints:
        world.send(each)
    assert world.own.get(endpoints[0]) is None
    assert world.read == endpoints[1:]


def test_the_number_of_endpoints_counted_is_limited(world: World) -> None:
    world.send(count=CONNECT_AFTER - 1)
    for number in range(MAX_COUNTED):
        world.send(PEER._replace(port=1000 + number), count=1)
    world.send(count=1)
    assert world.own.get(PEER) is None, "the count began anew"


def test_a_socket_closes_when_the_route_leads_away_and_opens_when_it_is_back(
    world: World,
) -> None:
    world.send()
    for lead, read in (LOCAL, [PEER]), (None, []), (LOCAL, [PEER]):
        world.follow(lead)
        world.send()
        assert world.read == read


def test_all_of_them_can_be_closed(world: World) -> None:
    other = PEER._replace(port=8)
    world.send()
    world.send(other)
    world.own.close_all()
    assert [world.own.get(PEER), world.own.get(other), world.read] == [None, None, []]
