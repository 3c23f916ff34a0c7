"""The relay on a real event loop: sockets on demand, streams, limits, time."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coordinator.runtime import relay as relay_module
from coordinator.runtime.relay import Relay
from coordinator.runtime.tcp import TurnStream
from coordinator.turn import Limits, PeerRules, TurnServer
from meshwg.relay.server import Transport
from meshwg.transmit import Endpoint, Transmit
from tests.coordinator.runtime.relaying import Node, until
from tests.interop.relays import HOST, PEER_HOST, REALM, SECRET, own_relay, server_at


async def test_a_peer_outside_gets_a_socket_and_loses_it_with_the_allocation() -> None:
    async with own_relay() as relay, Node() as node:
        node.use(server_at(relay.port))
        await node.allocated()
        assert not relay.relay._sockets

        with plain_socket() as peer:
            node.send(Endpoint(*peer.getsockname()), b"hello")
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(10):
                data, source = await loop.sock_recvfrom(peer, 100)
            assert (data, source) == (b"hello", node.relayed[:2])

        node.close()
        await until(lambda: relay.turn.allocations == 0)
        assert not relay.relay._sockets


async def test_what_piles_up_in_one_turn_is_relayed_as_one_batch() -> None:
    async with own_relay() as relay, Node() as alice, Node() as bob:
        for node, name in ((alice, "alice"), (bob, "bob")):
            node.use(server_at(relay.port, name))
            await node.allocated()
        alice.open(bob.relayed)
        bob.open(alice.relayed)
        await bob.hears(b"ready", alice)
        bob.received.clear()
        sent: list[int] = []
        send = relay.udp.send

        def counting(transmit: Transmit) -> None:
            sent.append(len(transmit.datagrams))
            send(transmit)

        relay.relay._send_datagrams = counting
        for number in range(20):
            alice.send(bob.relayed, b"%02d" % number * 50)
        await bob.until(lambda: len(bob.received) == 20)

        assert max(sent) > 5


async def test_a_port_held_by_another_process_is_reported_to_the_client() -> None:
    with plain_socket(HOST) as taken:
        port = taken.getsockname()[1]
        async with own_relay() as relay, Node() as node:
            relay.turn._table._ports = range(port, port + 1)
            node.use(server_at(relay.port))
            await node.allocated()
            peer = Endpoint(PEER_HOST, 9)
            node.open(peer)

            await node.until(lambda: node.pool.refusal_of(peer) is not None)
            assert "508" in (node.pool.refusal_of(peer) or "")


async def test_behind_a_nat_the_socket_is_bound_to_the_port_alone() -> None:
    with plain_socket() as probe:
        port = probe.getsockname()[1]
    sock = relay_module._bind(Endpoint("192.0.2.1", port))
    try:
        assert sock.port == port
    finally:
        sock.close()


async def test_an_allocation_ends_in_time_without_any_traffic() -> None:
    async with own_relay(limits=Limits(default_lifetime=0.3)) as relay, Node() as node:
        node.use(server_at(relay.port))
        await node.allocated()

        await until(lambda: relay.turn.counters.expired == 1)


async def test_one_address_may_not_take_all_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "STREAMS_PER_SITE", 2)
    async with own_relay() as relay:
        opened = [await asyncio.open_connection(HOST, relay.port) for _ in range(3)]
        for _, writer in opened:
            writer.write(b"\x00\x01")
        async with asyncio.timeout(5):
            assert await opened[2][0].read() == b""
        for _, writer in opened:
            writer.close()
        await until(lambda: not relay.relay._streams)
        assert not relay.relay._sites

        assert value_of(relay.relay, "relay_drops", "stream-refused") == 1


async def test_the_numbers_are_there_for_prometheus() -> None:
    async with own_relay() as relay, Node() as alice, Node() as bob:
        for node, name in ((alice, "alice"), (bob, "bob")):
            node.use(server_at(relay.port, name, Transport.TCP))
            await node.allocated()
        alice.open(bob.relayed)
        bob.open(alice.relayed)
        await bob.hears(b"data", alice)

        assert value_of(relay.relay, "relay_allocations") == 2
        assert value_of(relay.relay, "relay_streams") == 2
        assert value_of(relay.relay, "relay_requests", "allocate") == 4
        assert value_of(relay.relay, "relay_errors", "401") == 2
        assert value_of(relay.relay, "relay_packets", "internal") >= 1
        assert value_of(relay.relay, "relay_bytes", "internal") >= 4


async def test_an_ipv4_client_on_a_dual_stack_port_is_an_ipv4_client() -> None:
    server = TurnServer(
        realm=REALM,
        secrets=[SECRET.encode()],
        hosts={4: HOST},
        random=os.urandom,
        unix_time=lambda _: time.time(),
        rules=PeerRules(),
    )
    relay = Relay(server, lambda transmit: None)
    stream = TurnStream(relay)

    client = relay.stream_opened(stream, "::ffff:192.0.2.1", 5)

    assert client.host == "192.0.2.1"
    relay.stream_closed(client, 0)
    await relay.close()


@contextmanager
def plain_socket(host: str = PEER_HOST) -> Iterator[socket.socket]:
    """Return a UDP socket that is bound somewhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setblocking(False)
        plain.bind((host, 0))
        yield plain


def value_of(relay: Relay, name: str, label: str | None = None) -> float:
    """Return one number of ``/metrics``."""
    [family] = [each for each in relay.metrics() if each.name == f"meshwg_{name}"]
    for sample in family.samples:
        if label is None or label in sample.labels.values():
            return float(sample.value)
    return 0.0
