"""Connections to PostgreSQL: where they lead, what they begin with, how they end."""

import asyncio
import socket
from typing import Any

import asyncpg
import pytest

from coordinator.dsn import PostgresServer, parse_url
from coordinator.store.faults import StoreError
from coordinator.store.postgres import ACKNOWLEDGEMENT_TIMEOUT, Connector
from tests.coordinator.store.middlebox import Middlebox

pytestmark = pytest.mark.postgres

NOWHERE = "127.0.0.1:1"


async def test_the_first_host_that_answers_is_used_and_is_asked_first_again(
    postgres_url: str,
) -> None:
    async with (
        Middlebox(postgres_url).running() as silent,
        Middlebox(postgres_url).running() as good,
    ):
        silent.freeze()
        hosts = f"{NOWHERE},{silent.where},{good.where}"
        name = str(server(postgres_url).database)
        url = f"postgresql://mesh@{hosts}/{name}?sslmode=disable&connect_timeout=2"
        connector = Connector(server(url))
        for _ in range(2):
            connection = await connector.connect()
            assert await connection.fetchval("SELECT 7") == 7
            await connection.close()
        assert (silent.accepted, good.accepted) == (1, 2)


async def test_where_nobody_answers_that_is_said(postgres_url: str) -> None:
    async with Middlebox(postgres_url).running() as box:
        box.freeze()
        with pytest.raises(StoreError, match="does not answer"):
            await connected(box.url + "&connect_timeout=2")
    with pytest.raises(StoreError, match="cannot be reached"):
        await connected(f"postgresql://u:hunter2@{NOWHERE}/d")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("/test_", "/none_"), "There is no such database"),
        (("mesh@", "nobody@"), "does not let this user in"),
        (("?host", "?options=-cnonsense%3D1&host"), "refused a request"),
        (
            ("?host", "?options=-cdefault_transaction_read_only%3Don&host"),
            "takes no writes",
        ),
    ],
)
async def test_what_a_server_refuses_is_said_in_a_sentence(
    postgres_url: str, change: tuple[str, str], named: str
) -> None:
    with pytest.raises(StoreError, match=named):
        await connected(postgres_url.replace(*change))


async def test_tls_that_the_server_has_not_is_not_done_without(
    postgres_url: str,
) -> None:
    async with Middlebox(postgres_url).running() as box:
        url = box.url.replace("sslmode=disable", "sslmode=require")
        with pytest.raises(StoreError, match="SSL"):
            await connected(url)
        url = box.url.replace("sslmode=disable", "sslrootcert=/nowhere.pem")
        with pytest.raises(StoreError):
            await connected(url + "&sslmode=verify-full")
        url = box.url.replace("sslmode=disable", "sslrootcert=system")
        with pytest.raises(StoreError, match="SSL"):
            await connected(url)
        await (await connected(box.url.replace("sslmode=disable", ""))).close()


async def test_a_session_gives_up_its_locks_and_waits_for_the_disk(
    postgres_url: str,
) -> None:
    weak = "?options=-csynchronous_commit%3Doff&host"
    connection = await connected(postgres_url.replace("?host", weak))
    shown = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in (
            "application_name",
            "default_transaction_isolation",
            "idle_in_transaction_session_timeout",
            "synchronous_commit",
        )
    }
    await connection.close()
    assert shown == {
        "application_name": "meshwg-coordinator",
        "default_transaction_isolation": "read committed",
        "idle_in_transaction_session_timeout": "10s",
        "synchronous_commit": "on",
    }


async def test_what_was_asked_for_beyond_safety_stays(postgres_url: str) -> None:
    strong = "?options=-csynchronous_commit%3Dremote_apply&host"
    connection = await connected(postgres_url.replace("?host", strong))
    assert await connection.fetchval("SHOW synchronous_commit") == "remote_apply"
    await connection.close()


async def test_the_system_gives_up_a_server_that_acknowledges_nothing(
    postgres_url: str,
) -> None:
    async with Middlebox(postgres_url).running() as box:
        connection = await connected(box.url)
        sock = connection._transport.get_extra_info("socket")
        limit = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert limit == ACKNOWLEDGEMENT_TIMEOUT * 1000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        await connection.close()


async def test_all_connections_end_at_once_and_whoever_waits_is_told(
    postgres_url: str,
) -> None:
    async with Middlebox(postgres_url).running() as box:
        connector = Connector(server(box.url))
        idle, busy = await connector.connect(), await connector.connect()
        waiting = asyncio.create_task(busy.fetchval("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.05)
        box.freeze()
        connector.abort()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await waiting
        assert idle.is_closed()
        connector.abort()


async def connected(url: str) -> Any:
    return await Connector(server(url)).connect()


def server(url: str) -> PostgresServer:
    found = parse_url(url)
    assert isinstance(found, PostgresServer)
    return found
