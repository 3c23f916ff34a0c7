"""One operation that fails does not fail its neighbours."""

from collections.abc import Sequence

import pytest

from coordinator.mesh.operations import Accepted, Join, Operation, Refused, SetUrl
from coordinator.store.engine import StoreError
from coordinator.store.salvage import REFUSAL, Done, carry_out
from coordinator.store.store import Commit
from tests.coordinator.store.processes import NOW, Process, auth_key, join

UNWRITABLE = "bad"


async def test_what_a_database_cannot_hold_is_refused_alone(process: Process) -> None:
    key = await auth_key(process)
    joins = [join(f"key-{number}", key) for number in range(20)]
    # Neither kind of database takes a text that is no text in any encoding.
    joins[7] = Join("key-7", "\ud800", "home", "node", key)
    refused: list[Operation] = []
    done = await perform(process, joins, refused)
    assert refused == [joins[7]]
    assert [each for each, _ in done.outcomes] == joins
    assert done.outcomes[7][1] == REFUSAL
    accepted = [result for _, result in done.outcomes if isinstance(result, Accepted)]
    assert len(accepted) == 19
    assert sorted(process.registry.nodes) == sorted(
        each.key for each in joins if each is not joins[7]
    )
    told = {node.key for changes in done.changes for node in changes.nodes}
    assert told == set(process.registry.nodes)


async def test_several_that_fail_are_all_found(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = fail_with(monkeypatch, process, ValueError("no such thing"))
    operations = [SetUrl(UNWRITABLE if n in (0, 3, 9) else f"u{n}") for n in range(10)]
    refused: list[Operation] = []
    done = await perform(process, operations, refused)
    assert len(refused) == 3
    assert [isinstance(result, Refused) for _, result in done.outcomes] == [
        number in (0, 3, 9) for number in range(10)
    ]
    assert await process.store.mesh_url() == "u8"
    assert len(attempts) < 25


async def test_a_database_that_fails_itself_refuses_nobody(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, process, StoreError("it is away"))

    async def rewrite() -> None:
        raise StoreError("it is away")

    monkeypatch.setattr(process.store, "rewrite", rewrite)
    refused: list[Operation] = []
    done = await perform(process, [SetUrl(UNWRITABLE), SetUrl("u")], refused)
    assert not refused
    assert not done.outcomes
    assert str(done.error) == "it is away"


async def test_what_was_done_before_the_database_failed_is_reported(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, process, StoreError("it is too long", refused=True))
    calls = iter([None, None, StoreError("it is away")])
    rewrite = process.store.rewrite

    async def fail_later() -> None:
        error = next(calls)
        if error is not None:
            raise error
        await rewrite()

    monkeypatch.setattr(process.store, "rewrite", fail_later)
    key = await auth_key(process)
    operations = [join("a", key), SetUrl(UNWRITABLE)]
    done = await perform(process, operations, [])
    assert [each for each, _ in done.outcomes] == operations[:1]
    assert [node.key for change in done.changes for node in change.nodes] == ["a"]
    assert done.error is not None


async def test_what_fails_once_is_tried_again(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = StoreError("deadlock", refused=True)
    attempts = fail_with(monkeypatch, process, error, times=1)
    refused: list[Operation] = []
    done = await perform(process, [SetUrl(UNWRITABLE)], refused)
    assert not refused
    assert done.error is None
    assert len(attempts) == 2


async def test_no_operation_is_to_blame_for_a_full_disk(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = StoreError("the disk is full")
    fail_with(monkeypatch, process, full)
    refused: list[Operation] = []
    done = await perform(process, [SetUrl(UNWRITABLE)], refused)
    assert not refused
    assert not done.outcomes
    assert done.error is full


async def test_a_damaged_database_is_not_asked_again(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = StoreError("it is damaged", damaged=True)
    attempts = fail_with(monkeypatch, process, damaged)
    done = await perform(process, [SetUrl(UNWRITABLE), SetUrl("u")], [])
    assert done.error is damaged
    assert len(attempts) == 1


async def perform(
    process: Process, operations: Sequence[Operation], refused: list[Operation]
) -> Done:
    return await carry_out(
        process.store,
        operations,
        NOW,
        doubtful=False,
        on_refused=lambda operation, _: refused.append(operation),
    )


def fail_with(
    monkeypatch: pytest.MonkeyPatch,
    process: Process,
    error: Exception,
    times: int = 1000,
) -> list[int]:
    """Let transactions with an unwritable URL fail; return the sizes of all."""
    commit, sizes = process.store.commit, list[int]()
    left = times

    async def commit_or_fail(
        operations: Sequence[Operation], unix_time: float
    ) -> Commit:
        nonlocal left
        sizes.append(len(operations))
        if left and SetUrl(UNWRITABLE) in operations:
            left -= 1
            raise error
        return await commit(operations, unix_time)

    monkeypatch.setattr(process.store, "commit", commit_or_fail)
    return sizes
