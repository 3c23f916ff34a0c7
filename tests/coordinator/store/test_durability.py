"""What a failover or a power cut may take from a mesh, and who is told."""

from dataclasses import replace

import pytest

from coordinator.dsn import parse_url
from coordinator.store.durability import Durability, look
from coordinator.store.engine import create_engine

ALONE = Durability("on", "on", "on", "", 0, has_failover=False)
WAITED_FOR = replace(ALONE, standbys=2, standby_names="ANY 1 (*)", has_failover=True)


@pytest.mark.parametrize("server", [ALONE, WAITED_FOR])
def test_nothing_is_said_where_nothing_can_be_lost(server: Durability) -> None:
    assert server.risks("db") == []


@pytest.mark.parametrize(
    "server",
    [
        replace(ALONE, standbys=1),
        replace(ALONE, has_failover=True),
        replace(WAITED_FOR, synchronous_commit="local"),
        replace(WAITED_FOR, synchronous_commit="off"),
    ],
)
def test_standbys_that_are_not_waited_for_are_a_risk(server: Durability) -> None:
    (sentence,) = server.risks("db")
    assert "failover of the database db may lose nodes" in sentence
    assert "synchronous_standby_names" in sentence


def test_a_server_that_does_not_sync_is_a_risk() -> None:
    (sentence,) = replace(ALONE, fsync="off").risks("db")
    assert "power cut" in sentence
    assert len(replace(ALONE, full_page_writes="off", standbys=1).risks("db")) == 2


@pytest.mark.postgres
async def test_a_server_says_how_it_commits(postgres_url: str) -> None:
    engine = create_engine(parse_url(postgres_url))
    found = await look(engine)
    await engine.dispose()
    assert found is not None
    # The tests' own server is started without fsync, since it is thrown away.
    assert (found.fsync, found.synchronous_commit) == ("off", "on")
    assert (found.standbys, found.has_failover) == (0, False)


async def test_a_file_has_no_standbys(sqlite_url: str) -> None:
    engine = create_engine(parse_url(sqlite_url))
    assert await look(engine) is None
    await engine.dispose()
