"""The one task that writes to the database, many operations in one transaction."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from coordinator.control.pending import RETRY_INTERVAL
from coordinator.control.rendezvous import Delivery
from coordinator.control.server import ControlServer
from coordinator.mesh.homes import BEAT_INTERVAL, Home, Homes, Roll
from coordinator.mesh.operations import (
    Administered,
    Changes,
    MarkOffline,
    Operation,
    Result,
    unwrapped,
)
from coordinator.mesh.registry import Registry
from coordinator.runtime.readiness import Readiness
from coordinator.runtime.unexpected import Unexpected
from coordinator.runtime.waiting import WaitingOffers
from coordinator.store.engine import StoreError
from coordinator.store.salvage import carry_out
from coordinator.store.store import Store

ADMINISTRATION = "administration over HTTP"
"""Who has shown the bearer token: nothing more is known of him."""

MAX_FORWARDS = 256
"""Offers that wait for the database. More are lost, as those are that nobody takes: a
database that does not answer would gather them."""

RECOVERY = 10.0
"""Seconds after the last failure in which a database has to prove itself by what it is
asked for: until then it is not enough that it answers."""

logger = logging.getLogger(__name__)


class StoreWorker:
    """Carries operations of the server, and of administrators, out in the database.

    :param home: this process among those on one database.
    :param on_commit: called after the server has been told what was committed.
    :param forward_directly: passes an offer to another process without the database;
        returns whether it could.
    """

    def __init__(
        self,
        store: Store,
        server: ControlServer,
        registry: Registry,
        *,
        home: Home,
        on_commit: Callable[[], None],
        unexpected: Unexpected,
        readiness: Readiness,
        forward_directly: Callable[[Delivery, Home], bool] = lambda *_: False,
    ) -> None:
        self._store = store
        self._server = server
        self._registry = registry
        self._homes = Homes(home.name)
        self._home = home
        self._readiness = readiness
        self._forward_directly = forward_directly
        self._on_commit = on_commit
        self._unexpected = unexpected
        self._wake = asyncio.Event()
        self._stale = False
        self._stopping = False
        self._requests: list[tuple[Operation, asyncio.Future[Result]]] = []
        self._forwards: deque[Delivery] = deque()
        self._forwarder: asyncio.Task[None] | None = None
        self._waiting = WaitingOffers()
        self.roll = Roll({home.name: home})
        """The processes on the database."""
        self.on_changes: Callable[[Sequence[Changes]], None] = lambda _: None
        """Called with what was committed, here or by another process."""
        self.failing = False
        """The last transaction failed, or one just before that had more to do."""
        self._failed_at = float("-inf")
        self.commits = 0
        """Transactions that were committed."""
        self.failures = 0
        """Transactions that failed."""

    def wake(self) -> None:
        """The server may have operations."""
        self._wake.set()

    def look(self) -> None:
        """Another process may have changed the database."""
        self._stale = True
        self._wake.set()

    async def perform(
        self, operation: Operation, actor: str = ADMINISTRATION, address: str = ""
    ) -> Result:
        """Carry out an operation of an administrator.

        :param actor: who that is, for the audit log.
        :param address: from where; empty for this machine.
        :raises StoreError: if the database fails.
        """
        return await self.request(Administered(operation, actor, address))

    async def request(self, operation: Administered) -> Result:
        """Carry out what an administrator wants.

        :raises StoreError: if the database fails.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._requests.append((operation, future))
        self._wake.set()
        return await future

    def forward(self, delivery: Delivery) -> None:
        """Send an offer to the process that is connected to its receiver."""
        if not self._store.is_shared:
            return
        home = self.roll.alive.get(delivery.home)
        if home is not None and self._forward_directly(delivery, home):
            return
        if len(self._forwards) >= MAX_FORWARDS:
            self._server.counters["offers_lost"] += 1
            return
        self._forwards.append(delivery)
        if self._forwarder is None or self._forwarder.done():
            self._forwarder = asyncio.create_task(self._forward_all())

    async def run(self) -> None:
        """Work until :meth:`stop`, and then carry out what is left.

        It must not be cancelled: an interrupted transaction keeps SQLite's lock.

        :raises StoreError: if the database turns out to be damaged.
        """
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            await self._work()

    def stop(self) -> None:
        """End after one more transaction."""
        self._stopping = True
        self._wake.set()

    async def _work(self) -> None:
        """Carry out what is waiting now."""
        now = asyncio.get_running_loop().time()
        operations = self._server.operations(now)
        requests, self._requests = self._requests, []
        stale, self._stale = self._stale, False
        if not operations and not requests and not stale:
            return
        done = await carry_out(
            self._store,
            [*operations, *(operation for operation, _ in requests)],
            time.time(),
            doubtful=self.failing,
            on_refused=self._on_refused,
        )
        outcomes = done.outcomes[: len(operations)]
        self._server.committed(outcomes, done.changes, self._now())
        self.on_changes(done.changes)
        self._waiting.look(done.changes)
        answers = done.outcomes[len(operations) :]
        for (_, future), (_, result) in zip(requests, answers, strict=False):
            if not future.done():
                future.set_result(result)
        if done.error is None:
            self._on_success(had_work=bool(operations or requests))
        else:
            rest = operations[len(outcomes) :], requests[len(answers) :]
            self._on_failure(done.error, *rest)
        self._on_commit()

    def _on_refused(self, operation: Operation, error: Exception) -> None:
        """An operation failed, and only this one."""
        where = f"storing an operation {type(unwrapped(operation)).__name__}"
        self._unexpected.note(where, error, self._now())

    async def keep_alive(self) -> None:
        """Report this process alive, and mark the nodes of dead ones offline."""
        while True:
            overdue: frozenset[str] = frozenset()
            try:
                self.roll = await self._store.beat(self._home)
                self._server.use_coordinators(self.roll.others(self._home))
                self._readiness.answered(self._now())
                nodes = self._registry.nodes.values()
                overdue = self._homes.overdue(nodes, self.roll.alive, self._now())
            except StoreError as error:
                # Those that wait for the database say it aloud, once.
                logger.debug("No sign of life could be given: %s", error)
            if overdue:
                self._server.submit(MarkOffline(overdue))
                self.wake()
            await asyncio.sleep(BEAT_INTERVAL)

    async def _forward_all(self) -> None:
        """Send offers through the database, all that wait in one transaction: at its
        commit it locks all others out."""
        while self._forwards:
            batch = list(self._forwards)
            self._forwards.clear()
            texts = [(each.home, each.text.decode()) for each in batch]
            try:
                await self._store.forward(texts)
            except StoreError:
                self._server.counters["offers_lost"] += len(batch)

    def _on_failure(
        self,
        error: StoreError,
        operations: list[Operation],
        requests: list[tuple[Operation, asyncio.Future[Result]]],
    ) -> None:
        self.failures += 1
        for _, future in requests:
            if not future.done():
                future.set_exception(error)
        if error.damaged:
            raise error
        if not self.failing:
            logger.error("%s", error)
        self.failing = True
        self._failed_at = self._now()
        self._stale = True
        self._server.failed(operations, self._now())
        asyncio.get_running_loop().call_later(RETRY_INTERVAL, self.wake)

    def _on_success(self, *, had_work: bool) -> None:
        self.commits += 1
        if not self.failing:
            return
        if not had_work and self._now() < self._failed_at + RECOVERY:
            # A disk that is full has room for some things, and not for the next.
            self._stale = True
            asyncio.get_running_loop().call_later(RETRY_INTERVAL, self.wake)
            return
        logger.warning("The database works again")
        self.failing = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
