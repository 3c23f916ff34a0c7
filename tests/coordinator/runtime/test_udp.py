"""The coordinator's UDP sockets answer from the address asked, or say why not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from meshwg.errors import MeshError
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Change, Class, Message, Method

HOSTS = ("127.0.0.1", "127.0.0.2", "::1")


async def test_a_request_is_answered_from_the_socket_it_came_to(
    service: UdpService,
) -> None:
    for local in service.stun.sockets:
        client = Client(local)
        client.send(stun.binding_request(bytes(12)), local)

        data, source = await client.receive()

        assert source == local
        assert stun.parse(data).mapped == client.local


async def test_a_changed_answer_comes_from_the_other_address_and_port(
    service: UdpService,
) -> None:
    first = service.stun.sockets[0]
    client = Client(first)
    change = Change.ADDRESS | Change.PORT
    request = Message(
        Method.BINDING, Class.REQUEST, bytes(12), {Attribute.CHANGE_REQUEST: change}
    )
    client.send(stun.encode(request), first)

    _, source = await client.receive()

    assert source == Endpoint("127.0.0.2", first.port + 1)


async def test_a_wildcard_socket_answers_from_the_address_that_was_asked() -> None:
    service = await started(("0.0.0.0",))
    port = service.stun.sockets[0].port
    for host in ("127.0.0.1", "127.0.0.9"):
        client = Client(Endpoint(host, port))
        client.send(stun.binding_request(bytes(12)), Endpoint(host, port))

        data, source = await client.receive()

        assert source == Endpoint(host, port)
        assert stun.parse(data).address(Attribute.RESPONSE_ORIGIN) == source
    await service.close()


async def test_anything_but_a_binding_request_goes_to_the_relay_in_batches(
    service: UdpService,
) -> None:
    taken: list[tuple[Sequence[bytes], Endpoint]] = []
    first = service.stun.sockets[0]
    client = Client(first)

    def on_relay(datagrams: Sequence[bytes], source: Endpoint) -> None:
        taken.append((datagrams, source))
        service.send(Transmit(source, [b"relayed"]))

    service.on_relay = on_relay
    client.send(b"\x40\x01\x00\x00", first)
    assert (await client.receive())[0] == b"relayed"
    client.send(stun.binding_request(bytes(12)), first)
    assert stun.is_stun((await client.receive())[0])

    ((datagrams, source),) = taken
    assert datagrams == [b"\x40\x01\x00\x00"]
    assert source.unpinned() == client.local


async def test_without_a_relay_it_is_counted(service: UdpService) -> None:
    first = service.stun.sockets[0]
    client = Client(first)

    client.send(b"\x40\x01\x00\x00", first)
    client.send(stun.binding_request(bytes(12)), first)
    await client.receive()

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in service.metrics()
        for sample in metric.samples
    }
    assert samples["meshwg_stun_answers_total",] == 1
    assert samples["meshwg_stun_drops_total", "not_stun"] == 1


async def test_a_taken_port_is_explained_and_nothing_stays_bound(
    service: UdpService,
) -> None:
    port = service.stun.sockets[0].port
    second = UdpService(
        StunServer([Endpoint("127.0.0.9", port), Endpoint("127.0.0.1", port)])
    )

    with pytest.raises(MeshError, match=f"UDP port {port} of 127.0.0.1 is taken: stop"):
        await second.start()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.9", port))


async def test_an_address_of_another_machine_is_explained() -> None:
    service = UdpService(StunServer([Endpoint("192.0.2.77", 3478)]))

    with pytest.raises(MeshError, match="not an address of this machine: name one"):
        await service.start()


async def test_after_closing_nothing_is_sent_and_nothing_fails() -> None:
    service = await started(("127.0.0.1",))
    await service.close()

    service.send(Transmit(Endpoint("127.0.0.1", 9), [b"late"]))


class Client:
    """A UDP socket of the family of a server."""

    def __init__(self, server: Endpoint) -> None:
        is_ipv6 = ":" in server.host
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("::1" if is_ipv6 else "127.0.0.1", 0))

    @property
    def local(self) -> Endpoint:
        return Endpoint(*self._socket.getsockname()[:2])

    def send(self, data: bytes, server: Endpoint) -> None:
        self._socket.sendto(data, server[:2])

    async def receive(self) -> tuple[bytes, Endpoint]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            data, address = await loop.sock_recvfrom(self._socket, 2048)
        return data, Endpoint(*address[:2])

    def __del__(self) -> None:
        self._socket.close()


@pytest_asyncio.fixture
async def service() -> AsyncIterator[UdpService]:
    running = await started(HOSTS)
    yield running
    await running.close()


async def started(hosts: tuple[str, ...]) -> UdpService:
    """Return a service at a pair of ports that are free."""
    for port in range(35001, 35999, 2):
        service = UdpService(StunServer([Endpoint(host, port) for host in hosts]))
        try:
            await service.start()
        except MeshError:
            continue
        return service
    raise AssertionError("no port is free")
