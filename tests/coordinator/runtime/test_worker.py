"""The database worker: what happens when the database fails and recovers."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import pytest

from coordinator.control.rendezvous import Delivery
from coordinator.control.server import ControlServer
from coordinator.control.settings import Settings
from coordinator.mesh.homes import Home, Roll
from coordinator.mesh.operations import (
    MarkOffline,
    Operation,
    Refused,
    Rename,
    Sweep,
    unwrapped,
)
from coordinator.runtime import worker as worker_module
from coordinator.runtime.readiness import Readiness
from coordinator.runtime.unexpected import Unexpected
from coordinator.runtime.worker import StoreWorker
from coordinator.store.engine import StoreError
from coordinator.store.store import Commit, MeshConfig, Store
from meshwg.keys import PrivateKey, format_key
from tests.coordinator.live import eventually

PATIENCE = 20.0
FULL = StoreError("The disk that holds it is full; free some space")
DAMAGED = StoreError("The database is damaged", damaged=True)


class Bench:
    """A worker at a database that fails when it is told to."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.error: StoreError | None = None
        self.committed: list[Operation] = []
        self.poison: Operation | None = None
        """No transaction that this is in succeeds."""
        self.too_much: Operation | None = None
        """For this there is no room."""
        self.is_full = False
        """What is to be written fails, what is to be read does not."""
        self._commit, self._rewrite = store.commit, store.rewrite
        monkeypatch.setattr(store, "commit", self._commit_or_fail)
        monkeypatch.setattr(store, "rewrite", self._rewrite_or_fail)
        monkeypatch.setattr(worker_module, "RETRY_INTERVAL", 0.01)
        monkeypatch.setattr(worker_module, "RECOVERY", 0.05)
        monkeypatch.setattr("coordinator.control.pending.RETRY_INTERVAL", 0.01)

    async def start(self) -> None:
        registry, history = await self.store.load()
        self.registry = registry
        self.server = ControlServer(
            PrivateKey.generate(os.urandom),
            registry,
            history,
            Settings(home="own"),
            now=asyncio.get_running_loop().time(),
            unix_time=time.time(),
            random=os.urandom,
        )
        self.drained = asyncio.Event()
        self.unexpected = Unexpected()
        self.readiness = Readiness(0.0)
        self.direct: list[tuple[Delivery, Home]] = []
        self.worker = StoreWorker(
            self.store,
            self.server,
            registry,
            home=Home("own"),
            on_commit=self.drained.set,
            unexpected=self.unexpected,
            readiness=self.readiness,
            forward_directly=lambda delivery, home: self.is_direct(delivery, home),
        )
        self.task = asyncio.create_task(self.worker.run())

    def is_direct(self, delivery: Delivery, home: Home) -> bool:
        self.direct.append((delivery, home))
        return home.direct != ""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.drained.clear()
                await self.drained.wait()

    async def _commit_or_fail(
        self, operations: Sequence[Operation], unix_time: float
    ) -> Commit:
        if self.error is not None:
            raise self.error
        if self.is_full and operations:
            raise FULL
        if self.too_much in [unwrapped(each) for each in operations]:
            raise FULL
        if self.poison in [unwrapped(each) for each in operations]:
            raise StoreError("no such letter", refused=True)
        commit = await self._commit(operations, unix_time)
        self.committed += operations
        return commit

    async def _rewrite_or_fail(self) -> None:
        if self.error is not None or self.is_full:
            raise self.error or FULL
        await self._rewrite()


@pytest.fixture
async def bench(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    config = MeshConfig(format_key(bytes(range(32))))
    store = await Store.open(sqlite_url, config, random=os.urandom)
    made = Bench(store, monkeypatch)
    await made.start()
    yield made
    made.worker.stop()
    with contextlib.suppress(StoreError):
        await made.task
    await store.close()


async def test_an_administrator_gets_the_result(bench: Bench) -> None:
    result = await bench.worker.perform(Rename("nobody", "x"))
    assert isinstance(result, Refused)
    assert bench.worker.commits == 1


async def test_an_administrator_is_told_when_the_database_fails(bench: Bench) -> None:
    bench.error = FULL
    with pytest.raises(StoreError, match="is full"):
        await bench.worker.perform(Rename("nobody", "x"))
    assert bench.worker.failing


async def test_what_failed_is_done_when_the_database_works_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.error = FULL
    bench.server.submit(Sweep())
    bench.worker.wake()
    async with asyncio.timeout(PATIENCE):
        while bench.worker.failures < 3:
            bench.drained.clear()
            await bench.drained.wait()
    bench.error = None
    async with asyncio.timeout(PATIENCE):
        while Sweep() not in bench.committed:
            bench.drained.clear()
            await bench.drained.wait()
    assert not bench.worker.failing
    assert [record.message for record in caplog.records] == [
        str(FULL),
        "The database works again",
    ]


async def test_a_readable_full_disk_is_not_reported_as_recovered(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.is_full = True
    with pytest.raises(StoreError, match="is full"):
        await bench.worker.perform(Rename("nobody", "x"))
    await bench.until(lambda: bench.worker.failures >= 5)

    bench.is_full = False
    await bench.until(lambda: not bench.worker.failing)

    assert [record.message for record in caplog.records] == [
        str(FULL),
        "The database works again",
    ]


async def test_a_disk_that_has_room_for_little_is_not_said_to_work_each_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL finds room in its pages for a row that it rewrites."""
    monkeypatch.setattr(worker_module, "RECOVERY", 3600.0)
    bench.too_much = Rename("nobody", "x")
    for _ in range(5):
        with pytest.raises(StoreError, match="is full"):
            await bench.worker.perform(bench.too_much)
        commits = bench.worker.commits + 2
        await bench.until(partial(has_committed, bench.worker, commits))
        assert bench.worker.failing
    bench.too_much = None
    await bench.worker.perform(Rename("nobody", "x"))
    assert not bench.worker.failing
    assert [record.message for record in caplog.records] == [
        str(FULL),
        "The database works again",
    ]


def has_committed(worker: StoreWorker, count: int) -> bool:
    return worker.commits >= count


async def test_an_operation_that_fails_alone_leaves_the_database_healthy(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poison = Rename("poison", "x")
    for _ in range(3):
        results = await asyncio.gather(
            bench.worker.perform(Rename("nobody", "x")),
            bench.worker.perform(bench.poison),
            bench.worker.perform(Rename("nobody", "y")),
        )
        assert [isinstance(result, Refused) for result in results] == [True] * 3
        assert "does not take this" in str(results[1])
        assert "does not take this" not in str(results[0])
    assert not bench.worker.failing
    assert bench.unexpected.count == 3
    assert len(caplog.records) == 1


async def test_a_damaged_database_ends_the_worker(bench: Bench) -> None:
    bench.error = DAMAGED
    bench.server.submit(Sweep())
    bench.worker.wake()
    with pytest.raises(StoreError, match="damaged"):
        await asyncio.wait_for(asyncio.shield(bench.task), PATIENCE)


async def test_stopping_first_finishes_pending_work(bench: Bench) -> None:
    bench.server.submit(Sweep())
    bench.worker.stop()
    await bench.task
    assert bench.committed == [Sweep()]


async def test_nothing_to_do_causes_no_transaction(bench: Bench) -> None:
    bench.worker.wake()
    bench.worker.stop()
    await bench.task
    assert bench.worker.commits == 0


async def test_the_nodes_of_processes_that_do_not_return_are_marked_offline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BEAT_INTERVAL", 0.01)
    monkeypatch.setattr("coordinator.mesh.homes.GRACE", 0.05)
    overdue = frozenset({"dead"})
    monkeypatch.setattr(bench.worker._homes, "overdue", lambda *_: overdue)
    alive = asyncio.create_task(bench.worker.keep_alive())
    async with asyncio.timeout(PATIENCE):
        await bench.drained.wait()
    alive.cancel()
    assert MarkOffline(overdue) in bench.committed


async def test_a_database_that_answers_is_known_to_be_well(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "BEAT_INTERVAL", 0.01)
    heard = asyncio.Event()

    async def beat(_: Home) -> Roll:
        heard.set()
        if bench.error is not None:
            raise bench.error
        return Roll({"own": Home("own")}, ("http://other",))

    monkeypatch.setattr(bench.store, "beat", beat)
    now = asyncio.get_running_loop().time() + 8.0
    assert bench.readiness.ill(now, is_failing=False) is not None
    alive = asyncio.create_task(bench.worker.keep_alive())
    await eventually(lambda: bench.readiness.ill(now, is_failing=False) is None)
    assert bench.worker.roll.others(Home("own")) == ("http://other",)
    bench.error = FULL
    for _ in range(2):
        heard.clear()
        await asyncio.wait_for(heard.wait(), PATIENCE)
    assert not alive.done()
    alive.cancel()
    bench.error = None


async def test_an_offer_goes_directly_where_that_is_possible(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[str] = []

    async def forward(messages: Sequence[tuple[str, str]]) -> None:
        stored.extend(home for home, _ in messages)

    monkeypatch.setattr(type(bench.store), "is_shared", True)
    monkeypatch.setattr(bench.store, "forward", forward)
    near, far = Home("near", direct="http://near"), Home("far")
    bench.worker.roll = Roll({"near": near, "far": far})
    for home in ("near", "far", "unknown"):
        bench.worker.forward(Delivery("key", home, b"{}"))
    await eventually(lambda: len(stored) == 2)
    assert [home for _, home in bench.direct] == [near, far]
    assert stored == ["far", "unknown"]


async def test_a_database_that_does_not_answer_gathers_no_offers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, sizes = asyncio.Event(), list[int]()

    async def forward(messages: Sequence[tuple[str, str]]) -> None:
        sizes.append(len(messages))
        await answered.wait()

    monkeypatch.setattr(type(bench.store), "is_shared", True)
    monkeypatch.setattr(bench.store, "forward", forward)
    bench.worker.forward(Delivery("key", "elsewhere", b"{}"))
    await asyncio.sleep(0)
    for _ in range(worker_module.MAX_FORWARDS + 10):
        bench.worker.forward(Delivery("key", "elsewhere", b"{}"))
    assert len(bench.worker._forwards) == worker_module.MAX_FORWARDS
    assert bench.server.counters["offers_lost"] == 10
    answered.set()
    await eventually(lambda: not bench.worker._forwards)
    # They go together, in one transaction.
    assert sizes == [1, worker_module.MAX_FORWARDS]


async def test_offers_for_other_processes_go_nowhere_on_sqlite(bench: Bench) -> None:
    bench.worker.forward(Delivery("key", "elsewhere", b"{}"))
    assert not bench.worker._forwards
