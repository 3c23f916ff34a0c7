"""The port mapper against gateways on the loopback; the real one is in interop."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshwg.nat.gateway import SERVER_PORT, Mapped, MappingMethod
from meshwg.runtime import upnp
from meshwg.runtime.default_gateway import Gateway
from meshwg.runtime.portmap import PortMapper, PortMappingReport, probe
from meshwg.transmit import Endpoint
from tests.runtime.fake_router import PUBLIC, next_host, router, until

LOCAL = "127.0.0.1"
PORT = 51_820
ONLY_UPNP = frozenset({MappingMethod.UPNP})


async def test_a_port_is_mapped_reported_and_released() -> None:
    changes: list[tuple[Mapped | None, str]] = []
    async with pcp_gateway() as fake:
        mapper = fake.mapper(changes)
        mapper.start(PORT)
        await mapper.settled.wait()
        assert mapper.mapped is not None
        assert mapper.mapped.external == Endpoint(PUBLIC, PORT)
        assert mapper.reason == "The gateway maps the port by PCP."
        await mapper.stop()
        assert fake.lifetimes == [7200, 0]
    assert [mapped is not None for mapped, _ in changes] == [False, True, False]


async def test_another_gateway_is_asked_when_the_network_changes() -> None:
    async with pcp_gateway() as home, pcp_gateway() as cafe:
        gateways = [home.gateway]
        mapper = PortMapper(find=lambda family: gateways[-1])
        mapper.start(PORT)
        await mapper.settled.wait()
        gateways.append(cafe.gateway)
        mapper.network_changed()
        assert not mapper.mapped
        await until(lambda: mapper.mapped)
        await mapper.stop()
    assert home.lifetimes == [7200]
    assert cafe.lifetimes == [7200, 0]


async def test_without_a_gateway_nothing_happens_until_there_is_one() -> None:
    async with pcp_gateway() as fake:
        gateways: list[Gateway | None] = [None]
        mapper = PortMapper(find=lambda family: gateways[-1])
        mapper.start(PORT)
        assert mapper.settled.is_set()
        assert mapper.reason == "There is no default gateway that could map a port."
        gateways.append(fake.gateway)
        mapper.network_changed()
        await until(lambda: mapper.mapped)
        gateways.append(None)
        mapper.network_changed()
        assert not mapper.mapped
        await mapper.stop()


async def test_calls_out_of_order_do_no_harm() -> None:
    mapper = PortMapper(find=lambda family: None)
    mapper.network_changed()
    await mapper.stop()
    assert mapper.mapped is None
    assert mapper.drops == {}
    mapper.start(PORT)
    await mapper.stop()
    await mapper.stop()
    mapper.network_changed()
    assert mapper.reason == "The port mapping has been released."


async def test_upnp_maps_a_port_and_releases_it() -> None:
    async with router() as fake:
        gateway = Gateway(fake.host, LOCAL)
        mapper = PortMapper(find=lambda family: gateway)
        mapper.start(PORT)
        await mapper.settled.wait()
        assert mapper.mapped is not None
        assert mapper.mapped.method is MappingMethod.UPNP
        assert mapper.mapped.external == Endpoint(PUBLIC, PORT)
        await mapper.stop()
    actions = [call["action"] for call in fake.calls]
    assert actions == ["GetExternalIPAddress", "AddPortMapping", "DeletePortMapping"]


async def test_a_upnp_mapping_in_progress_is_released_too() -> None:
    async with router() as fake:
        gateway = Gateway(fake.host, LOCAL)
        mapper = PortMapper(methods=ONLY_UPNP, find=lambda family: gateway)
        mapper.start(PORT)
        await until(lambda: fake.requests)
        await mapper.stop()
        assert mapper.mapped is None
    assert fake.calls[-1]["action"] == "DeletePortMapping"


async def test_a_upnp_call_ends_when_the_network_changes() -> None:
    async with router() as home, pcp_gateway() as cafe:
        home.hangs = True
        gateways = [Gateway(home.host, LOCAL)]
        mapper = PortMapper(find=lambda family: gateways[-1])
        mapper.start(PORT)
        await until(lambda: home.requests)
        gateways.append(cafe.gateway)
        mapper.network_changed()
        await until(lambda: mapper.mapped)
        assert mapper.mapped is not None
        assert mapper.mapped.method is MappingMethod.PCP
        await mapper.stop()
    assert not home.calls


async def test_a_upnp_router_that_hangs_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshwg.runtime.portmap.STOP_LIMIT", 0.05)
    async with router() as fake:
        fake.hangs = True
        gateway = Gateway(fake.host, LOCAL)
        mapper = PortMapper(methods=ONLY_UPNP, find=lambda family: gateway)
        mapper.start(PORT)
        await until(lambda: fake.requests)
        await mapper.stop()
    assert mapper.mapped is None


async def test_a_gateway_that_maps_nothing_is_reported_with_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upnp, "SEARCH_LIMIT", 0.01)
    gateway = Gateway(next_host(), LOCAL)
    mapper = PortMapper(find=lambda family: gateway)
    mapper.start(PORT)
    await mapper.settled.wait()
    assert mapper.reason == (
        "The gateway maps no port: PCP is not supported, NAT-PMP is not supported, "
        "UPnP finds no gateway."
    )
    await mapper.stop()


async def test_an_address_that_has_gone_is_not_an_error() -> None:
    gateway = Gateway(next_host(), "192.0.2.77")
    mapper = PortMapper(find=lambda family: gateway)
    mapper.start(PORT)
    await mapper.settled.wait()
    assert "UPnP cannot search" in mapper.reason
    await mapper.stop()


async def test_a_probe_without_a_port_maps_nothing() -> None:
    async with router() as fake, pcp_gateway(fake.host) as questions:
        report = await probe(find=lambda family: questions.gateway)
    assert report == PortMappingReport(pcp=True, upnp=True)
    assert not questions.lifetimes
    assert not fake.calls


async def test_a_probe_with_a_port_maps_it_for_a_moment() -> None:
    async with pcp_gateway() as fake:
        report = await probe(PORT, find=lambda family: fake.gateway)
    assert report.pcp
    assert report.external == Endpoint(PUBLIC, PORT)
    assert fake.lifetimes == [120, 0]


async def test_a_probe_of_upnp_alone_maps_for_a_moment_too() -> None:
    async with router() as fake:
        gateway = Gateway(fake.host, LOCAL)
        report = await probe(PORT, find=lambda family: gateway)
    external = Endpoint(PUBLIC, PORT)
    assert report == PortMappingReport(upnp=True, external=external)
    actions = [call["action"] for call in fake.calls]
    assert actions == ["GetExternalIPAddress", "AddPortMapping", "DeletePortMapping"]


async def test_a_probe_of_a_router_that_hangs_says_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshwg.runtime.portmap.PROBE_LIMIT", 0.5)
    async with router() as fake, pcp_gateway(fake.host) as questions:
        fake.hangs = True
        report = await probe(PORT, find=lambda family: questions.gateway)
    assert report.upnp is False


async def test_a_probe_without_a_gateway_returns_nothing() -> None:
    assert await probe(PORT, find=lambda family: None) == PortMappingReport()


class PcpGateway(asyncio.DatagramProtocol):
    """Grants every mapping, and knows nothing of NAT-PMP."""

    def __init__(self, host: str) -> None:
        self.gateway = Gateway(host, LOCAL)
        self.lifetimes: list[int] = []
        self._transport: asyncio.DatagramTransport | None = None

    def mapper(self, changes: list[tuple[Mapped | None, str]]) -> PortMapper:
        return PortMapper(
            lambda mapped, reason: changes.append((mapped, reason)),
            find=lambda family: self.gateway,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        if data[0] != 2:
            return
        opcode, lifetime = data[1], int.from_bytes(data[4:8])
        answer = struct.pack("!BBBBII12x", 2, opcode | 0x80, 0, 0, lifetime, 1000)
        if opcode == 1:
            self.lifetimes.append(lifetime)
            external = bytes(10) + b"\xff\xff" + bytes(map(int, PUBLIC.split(".")))
            answer += data[24:44] + external
        self._transport.sendto(answer, addr)


@asynccontextmanager
async def pcp_gateway(host: str | None = None) -> AsyncIterator[PcpGateway]:
    fake = PcpGateway(host or next_host())
    address = (fake.gateway.address, SERVER_PORT)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: fake, local_addr=address)
    try:
        yield fake
    finally:
        transport.close()
