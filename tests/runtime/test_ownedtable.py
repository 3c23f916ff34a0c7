"""Tables that no other program can remove, as the kernel has them."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime import ownedtable
from meshwg.runtime.nft import nft
from meshwg.runtime.ownedtable import OwnedTable
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

NAME = "mine"
BODY = "  chain one { type filter hook output priority 0; policy accept; }"


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))


@pytest.fixture
def table(host: Host) -> Iterator[OwnedTable]:
    owned = OwnedTable(NAME)
    yield owned
    owned.close()


def test_it_stays_whatever_others_do_and_goes_when_it_is_closed(
    host: Host, table: OwnedTable
) -> None:
    assert host.call(lambda: table.put(BODY))
    for command in ("flush ruleset", f"delete table inet {NAME}"):
        with contextlib.suppress(ConfigError):
            host.call(partial(asyncio.run, nft(command)))
        assert NAME in tables(host)

    table.close()

    assert NAME not in tables(host)


def test_it_is_replaced_as_a_whole(host: Host, table: OwnedTable) -> None:
    assert host.call(lambda: table.put(BODY))
    assert host.call(lambda: table.put(BODY.replace("one", "two")))

    shown = host.run(["nft", "list", "ruleset"]).stdout
    assert "chain two" in shown
    assert "chain one" not in shown


def test_what_is_refused_leaves_what_was_there(host: Host, table: OwnedTable) -> None:
    assert host.call(lambda: table.put(BODY))
    assert not host.call(lambda: table.put("  chain one { dance }"))
    assert "chain one" in host.run(["nft", "list", "ruleset"]).stdout


def test_where_there_is_another_table_of_that_name_there_is_none(
    host: Host, table: OwnedTable
) -> None:
    host.run(["nft", "add", "table", "inet", NAME])
    assert not host.call(lambda: table.put(BODY))
    assert "chain one" not in host.run(["nft", "list", "ruleset"]).stdout


def test_once_closed_it_does_not_come_back(host: Host, table: OwnedTable) -> None:
    table.close()
    assert not host.call(lambda: table.put(BODY))
    assert NAME not in tables(host)


def test_without_the_library_there_is_none(
    monkeypatch: pytest.MonkeyPatch, table: OwnedTable
) -> None:
    ownedtable._library.cache_clear()
    monkeypatch.setattr(ownedtable, "LIBRARY", "libnowhere.so.1")
    assert not table.put(BODY)
    table.close()
    ownedtable._library.cache_clear()


def tables(host: Host) -> str:
    return host.run(["nft", "list", "tables"]).stdout
