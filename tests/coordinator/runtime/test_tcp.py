"""TURN over TCP: a client that stays silent, sends garbage or does not read."""

import asyncio

import pytest

from coordinator.runtime import tcp as tcp_module
from coordinator.runtime.tcp import TurnStream
from meshwg.relay.server import Transport
from meshwg.transmit import Endpoint
from meshwg.wire.channeldata import wrap_stream
from tests.coordinator.runtime.relaying import Node, until
from tests.interop.relays import HOST, own_relay, server_at


async def test_a_stream_without_an_allocation_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp_module, "ALLOCATION_TIMEOUT", 0.05)
    async with own_relay() as relay, Node() as node:
        node.use(server_at(relay.port, "alice", Transport.TCP))
        reader, writer = await asyncio.open_connection(HOST, relay.port)
        writer.write(b"\x00\x01")

        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        await node.allocated()
        await asyncio.sleep(0.15)
        assert relay.turn.allocations == 1


async def test_a_stream_that_sends_garbage_is_closed() -> None:
    async with own_relay() as relay:
        reader, writer = await asyncio.open_connection(HOST, relay.port)
        writer.write(b"\x00\x03\x00\x00nonsense")

        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: not relay.relay._streams)


async def test_a_stream_without_an_allocation_keeps_no_long_message() -> None:
    async with own_relay() as relay, Node() as node:
        node.use(server_at(relay.port, "alice", Transport.TCP))
        await node.allocated()
        reader, writer = await asyncio.open_connection(HOST, relay.port)
        length = tcp_module.EARLY_LIMIT.to_bytes(2, "big")
        writer.write(b"\x00\x03" + length + b"\x21\x12\xa4\x42")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        (stream,) = relay.relay._streams.values()
        assert stream._framer.limit > tcp_module.EARLY_LIMIT
        assert len(relay.relay._newcomers) == 0


async def test_a_client_that_does_not_read_loses_the_oldest_messages_whole() -> None:
    owner, transport = Owner(), FakeTransport()
    stream = TurnStream(owner)
    stream._transport = transport  # type: ignore[assignment]
    message = wrap_stream(0x4000, [bytes(1000)])

    stream.send([message])
    stream.pause_writing()
    for _ in range(2000):
        stream.send([message])
    stream.resume_writing()

    assert stream._backlog.dropped == 2000 - tcp_module.BACKLOG // len(message)
    assert set(transport.written) == {message}
    stream.connection_lost(None)
    assert owner.dropped == stream._backlog.dropped
    stream.send([message])


class Owner:
    """Who takes what a stream says."""

    dropped = 0

    def stream_opened(self, stream: TurnStream, host: str, port: int) -> Endpoint:
        return Endpoint(host, port, 1 << 16)

    def receive_stream(self, messages: object, client: Endpoint) -> None:
        return

    def stream_closed(self, client: Endpoint, dropped: int) -> None:
        self.dropped = dropped

    def has_allocation(self, client: Endpoint) -> bool:
        return True


class FakeTransport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)
