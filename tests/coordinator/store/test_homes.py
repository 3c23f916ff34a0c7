"""Signs of life in the database, and what processes learn of each other by them."""

import pytest
from sqlalchemy import text

from coordinator.mesh.homes import BEAT_TIMEOUT, Home, Roll
from coordinator.store.engine import transaction
from coordinator.store.homes import FORGET_HOME, KNOWN_FOR, beat, living_urls
from tests.coordinator.store.processes import Process

pytestmark = pytest.mark.postgres

ONE = Home("one", "http://one", "http://10.0.0.1:8443")
TWO = Home("two", "http://two")


@pytest.fixture
async def process(postgres_url: str) -> Process:
    return await Process.start(postgres_url)


async def test_processes_learn_where_the_others_are(process: Process) -> None:
    await give(process, ONE)
    roll = await give(process, TWO)
    assert roll.alive == {"one": ONE, "two": TWO}
    assert set(roll.urls) == {"http://one", "http://two"}
    await process.store.close()


async def test_one_that_moves_is_known_where_it_is(process: Process) -> None:
    await give(process, ONE)
    moved = Home("one", "http://elsewhere", "http://10.0.0.9:1")
    roll = await give(process, moved)
    assert roll == Roll({"one": moved}, ("http://elsewhere",))
    await process.store.close()


async def test_one_that_is_silent_is_dead_and_nodes_are_told_of_it_for_a_while(
    process: Process,
) -> None:
    await give(process, ONE)
    for age, is_told, is_kept in (
        (BEAT_TIMEOUT + 5, True, True),
        (KNOWN_FOR + 5, False, True),
        (FORGET_HOME + 5, False, False),
    ):
        async with transaction(process.store.engine) as connection:
            older = text(
                "UPDATE homes SET beat = extract(epoch from clock_timestamp()) - :age "
                "WHERE home = 'one'"
            )
            await connection.execute(older, {"age": age})
            assert "http://one" not in await living_urls(connection)
        roll = await give(process, TWO)
        assert roll.alive == {"two": TWO}
        assert roll.others(TWO) == (("http://one",) if is_told else ())
        assert roll.living(TWO) == ()
        async with transaction(process.store.engine) as connection:
            left = await connection.scalar(text("SELECT count(*) FROM homes"))
        assert left == (2 if is_kept else 1)
    await process.store.close()


async def test_a_process_of_before_that_says_no_url_is_alive(process: Process) -> None:
    async with transaction(process.store.engine) as connection:
        await connection.execute(
            text("INSERT INTO homes (home, beat) VALUES ('old', 4e9)")
        )
    roll = await give(process, TWO)
    assert roll.alive["old"] == Home("old")
    assert roll.urls == ("http://two",)
    await process.store.close()


async def give(process: Process, home: Home) -> Roll:
    async with transaction(process.store.engine) as connection:
        return await beat(connection, home)
