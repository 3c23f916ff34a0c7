"""Where programs ask for names, with dnspython as the program."""

import asyncio
import socket
from collections.abc import AsyncIterator

import dns.message
import dns.query
import dns.rcode
import pytest
import pytest_asyncio

from meshwg.dns.forwarder import Asker
from meshwg.dns.framing import framed
from meshwg.dns.message import MAX_QUERY
from meshwg.dns.server import NameServer
from meshwg.runtime.dns import stub as module
from meshwg.runtime.dns.stub import MAX_STREAMS, Place, Stub
from tests.dns.zones import record, zone

PLACE = ("127.0.0.1", 0)


class Answering:
    """A stub with a name server behind it."""

    def __init__(self) -> None:
        self.server = NameServer(lambda length: bytes(length), 0.0)
        self.server.zone = zone(
            *(record("many", "A", f"10.0.0.{each}") for each in range(99))
        )
        self.askers: list[Asker] = []
        self.stub = Stub(self._receive, self._turn)

    @property
    def port(self) -> int:
        return self.stub.port_of(PLACE)

    def _receive(self, message: bytes, asker: Asker) -> None:
        self.askers.append(asker)
        self.server.receive_query(message, asker, 0.0)

    def _turn(self) -> None:
        for asker, answer in self.server.answers_to_send():
            self.stub.send(asker, answer)


@pytest_asyncio.fixture
async def answering() -> AsyncIterator[Answering]:
    made = Answering()
    assert await made.stub.listen([PLACE]) == {}
    yield made
    made.stub.close()


async def udp(port: int, name: str, host: str = "127.0.0.1") -> dns.message.Message:
    query = dns.message.make_query(name, "A")
    return await asyncio.to_thread(dns.query.udp, query, host, 5, port)


async def tcp(port: int, name: str) -> dns.message.Message:
    query = dns.message.make_query(name, "A")
    return await asyncio.to_thread(dns.query.tcp, query, "127.0.0.1", 5, port)


async def test_it_answers_by_datagrams_and_on_streams(answering: Answering) -> None:
    for ask in (udp, tcp):
        answer = await ask(answering.port, "db.mesh.internal")
        assert str(answer.answer[0][0]) == "100.77.0.2"
    by_datagram, by_stream = answering.askers
    assert by_datagram.host == by_stream.host == "127.0.0.1"
    assert (by_datagram.is_stream, by_stream.is_stream) == (False, True)


async def test_what_is_too_long_comes_on_a_stream(answering: Answering) -> None:
    query = dns.message.make_query("many.mesh.internal", "A")

    answer, was_stream = await asyncio.to_thread(
        dns.query.udp_with_fallback, query, "127.0.0.1", 5, answering.port
    )

    assert was_stream
    assert len(answer.answer[0]) == 99


async def test_it_answers_over_ipv6(answering: Answering) -> None:
    place = ("::1", 0)
    assert await answering.stub.listen([PLACE, place]) == {}

    answer = await udp(answering.stub.port_of(place), "db.mesh.internal", "::1")

    assert answer.rcode() == dns.rcode.NOERROR


async def test_it_listens_before_an_address_is_there(answering: Answering) -> None:
    assert await answering.stub.listen([("192.0.2.77", 0), ("2001:db8::77", 0)]) == {}


async def test_a_place_that_is_taken_is_named_and_the_others_are_had(
    answering: Answering,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken: Place = ("127.0.0.1", other.getsockname()[1])

        refused = await answering.stub.listen([PLACE, taken])

    assert refused == {taken: "Address already in use"}
    assert not answering.stub.is_at(taken)
    assert answering.stub.is_at(PLACE)


async def test_it_stops_listening_where_it_is_not_to(answering: Answering) -> None:
    port = answering.port

    await answering.stub.listen([])

    assert answering.stub.places == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))


async def test_several_questions_may_come_on_one_stream(answering: Answering) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", answering.port)
    query = dns.message.make_query("db.mesh.internal", "A").to_wire()

    writer.write(framed(query) * 3)

    for _ in range(3):
        length = int.from_bytes(await reader.readexactly(2))
        assert dns.message.from_wire(await reader.readexactly(length)).answer
    writer.close()


@pytest.mark.parametrize("data", [b"\x00\x00", b"\x00\x05hello", b"GET / HTTP/1.1\r\n"])
async def test_a_stream_of_something_else_ends(
    answering: Answering, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", answering.port)

    writer.write(data)

    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_streams_are_few_at_a_time(answering: Answering) -> None:
    opened = [
        await asyncio.open_connection("127.0.0.1", answering.port)
        for _ in range(MAX_STREAMS + 3)
    ]

    for reader, _ in opened[:3]:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    answer = await tcp(answering.port, "db.mesh.internal")
    assert answer.rcode() == dns.rcode.NOERROR
    for _, writer in opened:
        writer.close()


async def test_whoever_does_not_read_is_cut_off(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT", 1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", answering.port, limit=1)
    query = framed(dns.message.make_query("many.mesh.internal", "A").to_wire())

    for _ in range(200):
        writer.write(query * 50)
        await asyncio.sleep(0)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1 << 30)
    writer.close()


async def test_datagrams_of_any_length_are_taken(answering: Answering) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", answering.port))
        for data in (b"", b"x", bytes(12), bytes(MAX_QUERY + 1), bytes(65000)):
            sock.send(data)
    answer = await udp(answering.port, "db.mesh.internal")
    assert answer.rcode() == dns.rcode.NOERROR


async def test_an_asker_that_is_gone_is_no_trouble(answering: Answering) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    query = dns.message.make_query("db.mesh.internal", "A").to_wire()
    for _ in range(5):
        sock.sendto(query, ("127.0.0.1", answering.port))
    sock.close()
    answering.stub.send(Asker("127.0.0.1", False, None), b"nobody's")
    for _ in range(3):
        answer = await udp(answering.port, "db.mesh.internal")
        assert answer.rcode() == dns.rcode.NOERROR
