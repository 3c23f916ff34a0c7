"""Questions of ``meshwg dns query``."""

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshwg.dns.forwarder import Asker
from meshwg.dns.server import NameServer
from meshwg.errors import ConfigError
from meshwg.runtime.dns.lookup import look_up
from meshwg.runtime.dns.service import MeshNames
from tests.dns.zones import record, zone


async def ask(name: str, kind: str | None = None) -> dict[str, Any]:
    server = NameServer(os.urandom, 0.0)
    server.zone = zone(record("www", "CNAME", "db"))

    async def query(message: bytes) -> bytes:
        server.receive_query(message, Asker("127.0.0.1", True), 0.0)
        ((_, answer),) = server.answers_to_send()
        return answer

    names = SimpleNamespace(domain="mesh.internal", query=query)
    return await look_up(cast(MeshNames, names), name, kind)


def values(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["type"], each["value"]) for each in found["answers"]]


@pytest.mark.parametrize("name", ["db", "DB.mesh.internal", "db.mesh.internal."])
async def test_a_name_has_its_addresses(name: str) -> None:
    found = await ask(name)

    assert (found["name"], found["code"], found["in_mesh"]) == (
        *("db.mesh.internal", "NOERROR"),
        True,
    )
    assert values(found) == [("A", "100.77.0.2"), ("AAAA", "fd12::2")]


async def test_an_alias_is_shown_once() -> None:
    assert values(await ask("www")) == [
        ("CNAME", "db.mesh.internal"),
        ("A", "100.77.0.2"),
        ("AAAA", "fd12::2"),
    ]


async def test_an_address_has_a_name() -> None:
    for address in ("100.77.0.2", "fd12::2"):
        assert values(await ask(address)) == [("PTR", "db.mesh.internal")]


async def test_other_types_may_be_asked_for() -> None:
    assert values(await ask("mesh.internal", "ns")) == [("NS", "laptop.mesh.internal")]


async def test_a_name_that_nobody_has_has_a_code() -> None:
    assert (await ask("web"))["code"] == "NXDOMAIN"
    assert (await ask("example.org"))["code"] == "REFUSED"
    assert not (await ask("example.org"))["in_mesh"]


async def test_the_root_is_others() -> None:
    assert (await ask(""))["code"] == "REFUSED"


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "ä"])
async def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        await ask(name)


async def test_what_is_no_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="no type of records"):
        await ask("db", "MXX")
