"""UPnP's HTTP and XML, towards a router of our own making and in strange documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.runtime.soap import (
    ActionFailed,
    SoapClient,
    SoapFailed,
    SoapService,
    is_at,
    records,
)
from tests.runtime.fake_router import DESCRIPTION, PUBLIC, FakeRouter, router


async def test_a_description_names_services() -> None:
    async with router() as fake:
        (service,) = await SoapClient(fake.host).services(fake.location)

    assert service.kind == fake.service
    assert service.url == fake.location.replace("/desc.xml", "/control")


async def test_services_may_be_below_another_url() -> None:
    async with router() as fake:
        base = "<URLBase>http://elsewhere/x/</URLBase><device>"
        fake.control_url = "control"
        text = DESCRIPTION.format(router=fake).replace("<device>", base)
        fake.description = text.encode()
        (service,) = await SoapClient(fake.host).services(fake.location)

    assert service.url == "http://elsewhere/x/control"


async def test_a_call_is_answered() -> None:
    async with router() as fake:
        answer = await call(fake, "GetExternalIPAddress")

    assert answer == {"NewExternalIPAddress": PUBLIC}


async def test_arguments_cannot_break_out() -> None:
    async with router() as fake:
        await call(fake, "AddPortMapping", NewPortMappingDescription="</x>&<y>")

    assert fake.calls[0]["NewPortMappingDescription"] == "&lt;/x&gt;&amp;&lt;y&gt;"


async def test_a_refusal_has_its_number() -> None:
    async with router() as fake:
        fake.errors = [718]
        with pytest.raises(ActionFailed) as failed:
            await call(fake, "AddPortMapping")

    assert failed.value.code == 718


async def test_a_fault_without_a_number_is_a_failure() -> None:
    async with router() as fake:
        fake.errors = ["none"]
        with pytest.raises(SoapFailed, match="answered with HTTP 500"):
            await call(fake, "AddPortMapping")


async def test_a_redirection_is_not_followed() -> None:
    async with router() as fake:
        fake.redirect = "/elsewhere"
        with pytest.raises(SoapFailed, match="HTTP 302"):
            await SoapClient(fake.host).services(fake.location)

    assert fake.requests == ["/desc.xml"]


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.2/",
        "http://192.0.2.1@192.0.2.2/",
        "ftp://192.0.2.1/",
        "http://192.0.2.1:99999/",
        "http://[",
        "",
    ],
)
async def test_no_other_host_is_ever_talked_to(url: str) -> None:
    with pytest.raises(SoapFailed, match="points to another host"):
        await SoapClient("192.0.2.1").services(url)
    assert not is_at(url, "192.0.2.1")


async def test_a_url_with_strange_letters_is_no_danger() -> None:
    async with router() as fake:
        with pytest.raises(SoapFailed):
            await SoapClient(fake.host).services(fake.location + "\r\nX: y z\u2028")


def test_elements_are_found_at_any_depth_and_in_any_namespace() -> None:
    document = b"<a:r xmlns:a='x'><b><s><k> 1 </k></s></b><a:s><a:k>2</a:k></a:s></a:r>"

    assert records(document, "s") == [{"k": "1"}, {"k": "2"}]


def test_elements_within_elements_of_the_same_name_are_apart() -> None:
    document = b"<s><k>outer</k><s><k>inner</k></s></s>"

    assert records(document, "s") == [{"k": "inner"}, {"k": "outer", "s": ""}]


def test_bytes_that_are_no_text_and_what_follows_the_end_do_not_matter() -> None:
    assert records(b"<s><k>K\xfche</k></s>\n\0\0", "s") == [{"k": "K\ufffdhe"}]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<s>",
        b"<!DOCTYPE r [<!ENTITY a 'aaaa'>]><r>&a;</r>",
        b"<!DOCTYPE r SYSTEM 'file:///etc/passwd'><r/>",
        b"<r>&unknown;</r>",
        b"<a>" * 20_000 + b"</a>" * 20_000,
    ],
)
def test_what_no_answer_needs_is_refused(document: bytes) -> None:
    with pytest.raises(SoapFailed):
        records(document, "s")


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    for document in (data, b"<s>" + data + b"</s>", b"<s><k>" + data):
        try:
            found = records(document, "s")
        except SoapFailed:
            continue
        assert all(isinstance(record, dict) for record in found)


async def call(fake: FakeRouter, action: str, **arguments: object) -> dict[str, str]:
    url = fake.location.replace("/desc.xml", "/control")
    service = SoapService(fake.service, url)
    return await SoapClient(fake.host).call(service, action, arguments)
