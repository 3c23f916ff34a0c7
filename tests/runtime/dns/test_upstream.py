"""The way to other people's name servers, which are played here."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import cast

import dns.message
import dns.rrset
import pytest
import pytest_asyncio

from meshwg.dns.forwarder import Asker, DnsDrop, Forwarder
from meshwg.dns.framing import framed
from meshwg.dns.message import read_query
from meshwg.runtime import clock
from meshwg.runtime.dns.upstream import Upstream

Reply = Callable[[bytes], bytes | None]


def answer(query: bytes) -> bytes:
    question = dns.message.from_wire(query)
    made = dns.message.make_response(question)
    name = question.question[0].name
    made.answer.append(dns.rrset.from_text(name, 30, "IN", "A", "203.0.113.9"))
    return made.to_wire()


class OtherServer(asyncio.DatagramProtocol):
    """Somebody's name server, at the same port of UDP and TCP."""

    def __init__(self) -> None:
        self.reply: Reply = answer
        self.seen: list[tuple[str, int]] = []
        self.transport: asyncio.DatagramTransport | None = None
        self._has_seen = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.seen.append(addr)
        self._has_seen.set()
        assert self.transport is not None
        if (reply := self.reply(data)) is not None:
            self.transport.sendto(reply, addr)

    async def wait_for(self, count: int) -> None:
        """Wait until so many questions have come by datagrams."""
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                self._has_seen.clear()
                await self._has_seen.wait()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        length = int.from_bytes(await reader.readexactly(2))
        query = await reader.readexactly(length)
        if (reply := self.reply(query)) is not None:
            writer.write(framed(reply))
        writer.close()


class Asking:
    """A forwarder with its sockets."""

    def __init__(self, port: int) -> None:
        self.drops: Counter[DnsDrop] = Counter()
        self.forwarder = Forwarder(os.urandom, self.drops)
        self.upstream = Upstream(self.forwarder, self.turn, port)
        self.answered = asyncio.Event()
        self.answers: list[dns.message.Message] = []

    def ask(self, name: str = "example.org.", *, is_stream: bool = False) -> None:
        query = read_query(dns.message.make_query(name, "A").to_wire())
        assert query is not None
        asker = Asker("127.0.0.1", is_stream)
        assert self.forwarder.forward(query, asker, clock.now())
        self.turn()

    def turn(self) -> None:
        for asked in self.forwarder.asked():
            self.upstream.ask(asked)
        self.upstream.close(self.forwarder.closed())
        for _, data in self.forwarder.answers_to_send():
            self.answers.append(dns.message.from_wire(data))
            self.answered.set()

    async def result(self) -> str:
        await asyncio.wait_for(self.answered.wait(), 10)
        (found,) = self.answers
        return str(found.answer[0][0]) if found.answer else found.rcode().name


@pytest_asyncio.fixture
async def server() -> AsyncIterator[OtherServer]:
    loop = asyncio.get_running_loop()
    made = OtherServer()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: made, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    streams = await asyncio.start_server(made.serve, "127.0.0.1", port)
    yield made
    transport.close()
    streams.close()


@pytest_asyncio.fixture
async def asking(server: OtherServer) -> AsyncIterator[Asking]:
    assert server.transport is not None
    made = Asking(server.transport.get_extra_info("sockname")[1])
    made.forwarder.use(["127.0.0.1"])
    yield made
    made.upstream.close_all()


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_question_is_answered(asking: Asking, is_stream: bool) -> None:
    asking.ask(is_stream=is_stream)

    assert await asking.result() == "203.0.113.9"


async def test_each_question_has_a_port_of_its_own(
    asking: Asking, server: OtherServer
) -> None:
    server.reply = lambda query: None
    for number in range(8):
        asking.ask(f"{number}.example.org.")
    await server.wait_for(8)

    assert len({port for _, port in server.seen}) == 8


async def test_what_others_send_to_the_port_is_not_heard(
    asking: Asking, server: OtherServer
) -> None:
    server.reply = lambda query: None
    asking.ask()
    await server.wait_for(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        for number in range(20):
            stranger.sendto(number.to_bytes(2) + bytes(40), server.seen[0])
    await asyncio.sleep(0.1)

    assert asking.answers == []
    assert asking.drops == {}


async def test_answers_to_other_questions_are_not_believed(
    asking: Asking, server: OtherServer
) -> None:
    server.reply = lambda query: bytes([query[0] ^ 1]) + answer(query)[1:]
    asking.ask()
    await server.wait_for(1)
    await asyncio.sleep(0.1)

    assert asking.answers == []
    assert asking.drops[DnsDrop.NOT_THE_ANSWER] == 1


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.2", "nonsense", "300.1.1.1"])
async def test_a_server_that_cannot_be_asked_is_passed_over(
    asking: Asking, host: str, is_stream: bool
) -> None:
    asking.forwarder.use([host])
    asking.ask(is_stream=is_stream)

    assert await asking.result() == "SERVFAIL"


async def test_a_stream_that_ends_early_is_no_answer(
    asking: Asking, server: OtherServer
) -> None:
    server.reply = lambda query: None
    asking.ask(is_stream=True)

    assert await asking.result() == "SERVFAIL"


async def test_sockets_are_closed_with_their_questions(
    asking: Asking, server: OtherServer
) -> None:
    asking.ask()
    await asking.result()

    assert asking.upstream._ways == {}
