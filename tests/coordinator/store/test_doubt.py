"""Commits whose answer was lost are done neither twice nor never."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from coordinator.mesh.operations import Accepted, Refused, SetUrl
from coordinator.store import engine as engine_module
from coordinator.store.doubt import Doubt, forget_writers
from coordinator.store.engine import StoreError, transaction
from coordinator.store.salvage import carry_out
from tests.coordinator.store.middlebox import Middlebox
from tests.coordinator.store.processes import NOW, Process, auth_key, join

pytestmark = pytest.mark.postgres


@pytest.fixture
async def box(postgres_url: str) -> AsyncIterator[Middlebox]:
    async with Middlebox(postgres_url).running() as made:
        yield made


@pytest.fixture
async def process(box: Middlebox) -> AsyncIterator[Process]:
    made = await Process.start(box.url)
    yield made
    await made.store.close()


async def test_a_join_whose_answer_is_lost_is_answered_and_done_once(
    process: Process, box: Middlebox
) -> None:
    key = await auth_key(process, reusable=False)
    box.loses = b"COMMIT"
    (result,) = await process.do(join("a", key))
    assert isinstance(result, Accepted)
    assert set(process.registry.nodes) == {"a"}
    assert process.history.version == process.registry.version
    (used,) = await process.store.auth_keys()
    assert used.uses == 1


async def test_what_never_arrived_is_done_then(
    process: Process, box: Middlebox
) -> None:
    key = await auth_key(process, reusable=False)
    box.cut()
    (result,) = await process.do(join("a", key))
    assert isinstance(result, Accepted)
    (used,) = await process.store.auth_keys()
    assert used.uses == 1


async def test_what_cannot_be_asked_at_once_is_asked_before_it_is_tried_again(
    process: Process, box: Middlebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE", 0.5)
    key = await auth_key(process, reusable=False)
    wanted, other = join("a", key), join("b", key)
    box.loses, box.freezes_after_loss = b"COMMIT", True
    with pytest.raises(StoreError, match="does not answer"):
        await process.do(wanted)
    box.thaw()
    monkeypatch.setattr(engine_module, "PATIENCE", 15.0)
    first, second = await process.do(wanted, other)
    assert isinstance(first, Accepted)
    assert isinstance(second, Refused)
    (used,) = await process.store.auth_keys()
    assert used.uses == 1


async def test_what_was_in_doubt_is_done_once_also_when_a_batch_is_divided(
    process: Process, box: Middlebox
) -> None:
    key = await auth_key(process)
    operations = [join(f"k{number}", key) for number in range(10)]
    box.loses = b"COMMIT"
    done = await carry_out(
        process.store, operations, NOW, doubtful=False, on_refused=lambda *_: None
    )
    assert done.error is None
    assert [each for each, _ in done.outcomes] == operations
    (used,) = await process.store.auth_keys()
    assert used.uses == 10


async def test_a_transaction_that_was_rolled_back_leaves_no_number(
    process: Process,
) -> None:
    doubt, operation = Doubt("w"), SetUrl("http://x")
    async with transaction(process.store.engine) as connection:
        await doubt.note(connection, [(operation, Accepted())])
        await connection.rollback()
    assert doubt
    async with transaction(process.store.engine) as connection:
        assert await doubt.outcomes(connection) == {}


async def test_of_several_in_doubt_the_last_that_was_committed_counts(
    process: Process,
) -> None:
    doubt, operations = Doubt("w"), [SetUrl(f"http://{n}") for n in range(3)]
    for number, operation in enumerate(operations):
        async with transaction(process.store.engine) as connection:
            await doubt.note(connection, [(operation, Accepted())])
            if number == 2:
                await connection.rollback()
    async with transaction(process.store.engine) as connection:
        known = await doubt.outcomes(connection)
    assert list(known) == [id(operations[1])]
    doubt.settle()
    assert not doubt
    async with transaction(process.store.engine) as connection:
        assert await doubt.outcomes(connection) == {}


async def test_processes_that_are_gone_for_long_are_forgotten(
    process: Process,
) -> None:
    async with transaction(process.store.engine) as connection:
        for writer, age in (("old", 90_000), ("new", 10)):
            await connection.execute(
                text(
                    "INSERT INTO writers VALUES (:writer, 1, "
                    "extract(epoch from clock_timestamp()) - :age)"
                ),
                {"writer": writer, "age": age},
            )
        await forget_writers(connection)
        left = await connection.execute(text("SELECT writer FROM writers"))
        assert [row.writer for row in left if len(row.writer) == 3] == ["new"]
