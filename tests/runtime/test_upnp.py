"""UPnP against a router of our own making, on the loopback, that misbehaves."""

import asyncio
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.nat.gateway import MappedProtocol
from meshwg.runtime import soap, upnp
from meshwg.runtime.upnp import (
    SearchProtocol,
    UpnpFailed,
    UpnpGateway,
    search,
)
from meshwg.transmit import Endpoint
from tests.runtime.fake_router import PUBLIC, next_host, router, search_answer

LOCAL = "127.0.0.1"


async def test_a_port_is_mapped_and_unmapped() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        granted = await gateway.map(40_000, 40_001, 3600)
        assert granted == (Endpoint(PUBLIC, 40_001), 3600)
        await gateway.unmap(40_001)
    mapped, unmapped = fake.calls[1:]
    assert mapped["action"] == "AddPortMapping"
    assert mapped["NewInternalClient"] == LOCAL
    assert mapped["NewInternalPort"] == "40000"
    assert mapped["NewExternalPort"] == unmapped["NewExternalPort"] == "40001"
    assert mapped["NewProtocol"] == unmapped["NewProtocol"] == "UDP"
    assert mapped["NewLeaseDuration"] == "3600"
    assert unmapped["action"] == "DeletePortMapping"


async def test_a_tcp_port_is_mapped_as_such() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL, protocol=MappedProtocol.TCP)
        await gateway.map(40_000, 40_001, 3600)
        await gateway.unmap(40_001)
    assert [call["NewProtocol"] for call in fake.calls[1:]] == ["TCP", "TCP"]


async def test_a_port_in_use_is_replaced_by_another() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        fake.errors = [None, 718, 718]
        external, _ = await gateway.map(40_000, 40_001, 3600)
    wished = [call["NewExternalPort"] for call in fake.calls[1:]]
    assert len(set(wished)) == 3
    assert str(external.port) == wished[-1]


async def test_the_search_ends_when_all_ports_are_in_use() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        fake.errors = [None, 718, 718, 718]
        with pytest.raises(UpnpFailed, match="finds every requested port in use"):
            await gateway.map(40_000, 40_001, 3600)


async def test_a_router_of_permanent_mappings_gets_what_it_wants() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        fake.errors = [None, 725]
        granted = await gateway.map(40_000, 40_001, 3600)
    assert granted == (Endpoint(PUBLIC, 40_001), 0)
    leases = [call["NewLeaseDuration"] for call in fake.calls[1:]]
    assert leases == ["3600", "0"]


async def test_an_error_is_named_by_its_number() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        fake.errors = [None, 606]
        with pytest.raises(UpnpFailed, match=r"is refused \(error 606\)"):
            await gateway.map(40_000, 40_001, 3600)


async def test_a_search_without_an_answer_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upnp, "SEARCH_LIMIT", 0.02)
    with pytest.raises(UpnpFailed, match="finds no gateway"):
        await UpnpGateway.find(next_host(), LOCAL)


async def test_a_search_from_an_address_that_is_not_ours_fails() -> None:
    with pytest.raises(UpnpFailed, match="cannot search"):
        await UpnpGateway.find(next_host(), "192.0.2.77")


@pytest.mark.parametrize(
    "location",
    [
        "http://192.0.2.1/desc.xml",
        "https://HOST/desc.xml",
        "file:///etc/passwd",
        "http://[",
        "",
    ],
)
async def test_a_description_somewhere_else_is_not_fetched(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upnp, "SEARCH_LIMIT", 0.1)
    async with router() as fake:
        fake.location = location.replace("HOST", fake.host)
        assert await search(fake.host, LOCAL) is None
        assert not fake.requests


async def test_a_description_that_points_elsewhere_is_not_followed() -> None:
    async with router() as fake:
        fake.control_url = "http://192.0.2.1/control"
        with pytest.raises(UpnpFailed, match="finds a gateway that maps no ports"):
            await UpnpGateway.find(fake.host, LOCAL)


async def test_a_redirection_is_not_followed() -> None:
    async with router() as fake:
        fake.redirect = "/elsewhere.xml"
        with pytest.raises(UpnpFailed, match="cannot be used"):
            await UpnpGateway.find(fake.host, LOCAL)
        assert fake.requests == ["/desc.xml"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00garbage",
        b"<root>",
        b"<root xmlns='urn:schemas-upnp-org:device-1-0'/>",
        b"<!DOCTYPE r [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><root>&b;</root>",
        b"<a>" * 20_000,
        b" " * (soap.MAX_BODY + 1),
    ],
    ids=["empty", "binary", "cut", "bare", "entities", "deep", "long"],
)
async def test_a_description_that_is_none_is_a_failure(body: bytes) -> None:
    async with router() as fake:
        fake.description = body
        with pytest.raises(UpnpFailed, match="cannot be used"):
            await UpnpGateway.find(fake.host, LOCAL)


async def test_a_device_without_a_connection_service_maps_no_ports() -> None:
    async with router() as fake:
        fake.service = "urn:schemas-upnp-org:service:Layer3Forwarding:1"
        with pytest.raises(UpnpFailed, match="finds a gateway that maps no ports"):
            await UpnpGateway.find(fake.host, LOCAL)


async def test_a_router_that_never_finishes_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        monkeypatch.setattr(upnp, "CALL_LIMIT", 0.05)
        fake.hangs = True
        with pytest.raises(UpnpFailed, match="takes too long"):
            await gateway.map(40_000, 40_001, 3600)


async def test_an_answer_without_an_address_is_a_failure() -> None:
    async with router() as fake:
        gateway = await UpnpGateway.find(fake.host, LOCAL)
        fake.answer = "<NewSomething>1</NewSomething>"
        with pytest.raises(UpnpFailed):
            await gateway.external_address()


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["192.0.2.1", "192.0.2.2"]))
def test_garbage_in_answer_to_a_search_is_harmless(data: bytes, source: str) -> None:
    prefixes = (b"", b"HTTP/1.1 200 OK\r\n", b"NOTIFY * HTTP/1.1")
    with closing(asyncio.new_event_loop()) as loop:
        found: asyncio.Future[str] = loop.create_future()
        protocol = SearchProtocol("192.0.2.1", found)
        for prefix in prefixes:
            protocol.datagram_received(prefix + data, (source, 1900))
        assert not found.done()


async def test_only_the_gateways_first_answer_to_a_search_counts() -> None:
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    protocol = SearchProtocol("192.0.2.1", found)
    elsewhere = search_answer("http://192.0.2.2:80/desc.xml")
    protocol.datagram_received(elsewhere, ("192.0.2.2", 1900))
    protocol.datagram_received(elsewhere, ("192.0.2.1", 1900))
    assert not found.done()
    for path in ("first", "second"):
        answer = search_answer(f"http://192.0.2.1:80/{path}.xml")
        protocol.datagram_received(answer, ("192.0.2.1", 1900))
    assert found.result() == "http://192.0.2.1:80/first.xml"
