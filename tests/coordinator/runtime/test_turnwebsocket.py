"""TURN over WebSockets: nodes that have nothing else, and those who mean no good."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from coordinator.addresses import RELAY_PATH
from coordinator.runtime import tcp as tcp_module
from coordinator.runtime import turnwebsocket as module
from coordinator.runtime.relay import NEW_STREAMS_PER_SITE
from coordinator.runtime.tcp import TurnStream
from coordinator.runtime.turnwebsocket import (
    MESSAGE_LIMIT,
    MESSAGE_SIZE,
    WebSocketTransport,
)
from meshwg.relay.server import Transport
from meshwg.wire.channeldata import wrap_stream
from tests.coordinator.runtime.relaying import Node, until
from tests.coordinator.runtime.test_tcp import Owner
from tests.interop.relays import HOST, OwnRelay, own_relay, server_at


async def test_two_nodes_talk_through_it() -> None:
    async with own_relay() as relay, Node() as alice, Node() as bob:
        alice.use(server_at(relay.port, "alice", Transport.WS))
        bob.use(server_at(relay.port, "bob", Transport.WS))
        await alice.allocated()
        await bob.allocated()
        bob.open(alice.relayed)

        await bob.hears(b"hello", alice)
        await alice.hears(bytes(1400), bob)

        assert alice.pool.status.transport is Transport.WS
        assert alice.pool.status.url == f"ws://{HOST}:{relay.port}{RELAY_PATH}"
    await until(lambda: relay.turn.allocations == 0)


async def test_a_node_over_a_websocket_and_one_over_udp_meet() -> None:
    async with own_relay() as relay, Node() as alice, Node() as bob:
        alice.use(server_at(relay.port, "alice", Transport.WS))
        bob.use(server_at(relay.port, "bob"))
        await alice.allocated()
        await bob.allocated()
        bob.open(alice.relayed)

        await bob.hears(b"hello", alice)
        await alice.hears(b"hello back", bob)


async def test_the_relay_counts_whom_a_proxy_speaks_for() -> None:
    async with own_relay() as relay, aiohttp.ClientSession() as session:
        held = [
            await connect(session, relay, {"X-Forwarded-For": "203.0.113.7"})
            for _ in range(NEW_STREAMS_PER_SITE)
        ]
        await until(lambda: relay.relay._sites["203.0.113.7"] == NEW_STREAMS_PER_SITE)

        excess = await connect(session, relay, {"X-Forwarded-For": "203.0.113.7"})
        assert await ended(excess)
        other = await connect(session, relay, {"X-Forwarded-For": "203.0.113.8"})
        await until(lambda: relay.relay._sites["203.0.113.8"] == 1)

        assert relay.relay._refused_streams == 1
        for socket in (*held, other):
            await socket.close()
    assert not relay.relay._streams


async def test_who_asks_for_no_allocation_is_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp_module, "ALLOCATION_TIMEOUT", 0.05)
    async with own_relay() as relay, aiohttp.ClientSession() as session:
        assert await ended(await connect(session, relay))
        await until(lambda: not relay.relay._streams)


@pytest.mark.parametrize("what", ["text", "garbage", "too much", "pings"])
async def test_what_no_node_sends_ends_the_connection(what: str) -> None:
    async with own_relay() as relay, aiohttp.ClientSession() as session:
        socket = await connect(session, relay)
        match what:
            case "text":
                await socket.send_str("hello")
            case "garbage":
                await socket.send_bytes(b"\x00\x03\x00\x00nonsense-nonsense")
            case "too much":
                await socket.send_bytes(bytes(MESSAGE_LIMIT + 1))
            case "pings":
                for _ in range(100):
                    await socket._writer.send_frame(b"", WSMsgType.PING)
        assert await ended(socket)
        await until(lambda: not relay.relay._streams)


async def test_while_nothing_is_said_it_pings_and_who_does_not_answer_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.2)
    async with own_relay() as relay, aiohttp.ClientSession() as session:
        socket = await connect(session, relay, autoping=False)
        assert (await socket.receive(10)).type is WSMsgType.PING
        assert await ended(socket)
        await until(lambda: not relay.relay._streams)


async def test_a_node_that_answers_pings_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.1)
    async with own_relay() as relay, Node() as node:
        node.use(server_at(relay.port, "alice", Transport.WS))
        await node.allocated()
        relayed = node.relayed
        await asyncio.sleep(1)
        assert node.relayed == relayed
        assert relay.turn.allocations == 1


@pytest.mark.parametrize("headers", [{}, {"Upgrade": "h2c", "Connection": "Upgrade"}])
async def test_without_an_upgrade_there_is_nothing(headers: dict[str, str]) -> None:
    url = "http://{}:{}{}"
    async with own_relay() as relay, aiohttp.ClientSession() as session:
        where = url.format(HOST, relay.port, RELAY_PATH)
        async with session.get(where, headers=headers) as answer:
            assert answer.status == 426
        assert not relay.relay._streams


async def test_a_client_that_does_not_read_loses_the_oldest_messages_whole() -> None:
    owner, socket = Owner(), SlowSocket()
    stream = TurnStream(owner)
    carrier = WebSocketTransport(socket, SlowSocket(), stream)  # type: ignore[arg-type]
    stream.connection_made(carrier)
    message = wrap_stream(0x4000, [bytes(1000)])

    for _ in range(2000):
        stream.send([message])
    assert stream._is_paused
    assert carrier.get_write_buffer_size() <= tcp_module.WRITE_BUFFER + len(message)
    socket.takes.set()
    await until(lambda: not stream._is_paused and not carrier.get_write_buffer_size())

    assert set(socket.sent) == {message}
    assert len(socket.sent) == 2000 - stream._backlog.dropped
    assert stream._backlog.dropped > 1000
    stream.connection_lost(None)
    await carrier.stop()


async def test_long_batches_are_divided_so_that_nothing_waits_for_them() -> None:
    socket = SlowSocket()
    socket.takes.set()
    stream = TurnStream(Owner())
    carrier = WebSocketTransport(socket, SlowSocket(), stream)  # type: ignore[arg-type]
    stream.connection_made(carrier)

    stream.send([bytes(2 * MESSAGE_SIZE + 1)])

    await until(lambda: len(socket.sent) == 3)
    assert [len(each) for each in socket.sent] == [MESSAGE_SIZE, MESSAGE_SIZE, 1]
    stream.connection_lost(None)


class SlowSocket:
    """A WebSocket, and what is below it, that take what they are given when told to."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.sent: list[bytes] = []

    async def send_bytes(self, data: bytes) -> None:
        await self.takes.wait()
        self.sent.append(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else default


async def connect(
    session: aiohttp.ClientSession,
    relay: OwnRelay,
    headers: dict[str, str] | None = None,
    *,
    autoping: bool = True,
) -> aiohttp.ClientWebSocketResponse:
    url = f"http://{HOST}:{relay.port}{RELAY_PATH}"
    return await session.ws_connect(url, headers=headers, autoping=autoping)


async def ended(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Wait for the end of a WebSocket."""
    ends: Sequence[WSMsgType] = (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)
    while (await socket.receive(10)).type not in ends:
        continue
    return True
