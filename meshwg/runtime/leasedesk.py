"""Leases that the coordinator keeps, for programs on this machine.

Each question goes to the coordinator at once, or not at all: an answer that is late is
worth nothing to who competes for a lease.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from meshwg import prefixes
from meshwg.control.client import ControlClient
from meshwg.errors import ConfigError, CoordinatorError
from meshwg.runtime import clock
from meshwg.schema import read
from meshwg.wire.control import LeaseAnswer, LeaseTerm, LeaseUse

PATIENCE = 2.0
"""Seconds to wait for the coordinator."""
MAX_WAITING = 64
"""Questions that wait for their answers."""
AWAY = "The coordinator cannot be reached, and so nobody knows who has the lease"


class LeaseDesk:
    """The questions of one node.

    :param turn: carries out what the node was told.
    """

    def __init__(self, client: ControlClient, turn: Callable[[], None]) -> None:
        self._client = client
        self._turn = turn
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[LeaseAnswer]] = {}

    async def use(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read a lease, or write into it; return what it is now.

        :param request: ``prefix``; to write also ``base``, the version that is to be
            replaced, and ``term``.
        :raises ConfigError: if that is none.
        :raises CoordinatorError: if the coordinator does not answer, or refuses.
        """
        use = self._parsed(request)
        if len(self._waiting) >= MAX_WAITING:
            raise CoordinatorError("Too many programs use leases at once")
        answer: asyncio.Future[LeaseAnswer] = asyncio.Future()
        self._waiting[use.id] = answer
        try:
            if not self._client.say(use, clock.now()):
                raise CoordinatorError(AWAY)
            self._turn()
            async with asyncio.timeout(PATIENCE):
                found = await answer
        except TimeoutError:
            raise CoordinatorError(
                f"The coordinator does not say in {PATIENCE:g} s who has the lease: if "
                "it is older than this program, update it"
            ) from None
        finally:
            del self._waiting[use.id]
        if found.refused:
            raise CoordinatorError(found.refused)
        return {
            "version": found.version,
            "written": found.written,
            "holder": found.term.holder,
            "duration": found.term.duration,
            "transitions": found.term.transitions,
        }

    def answered(self, answer: LeaseAnswer) -> None:
        """Take an answer of the coordinator."""
        waiting = self._waiting.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _parsed(self, request: dict[str, Any]) -> LeaseUse:
        term = request.get("term")
        try:
            return LeaseUse(
                id=next(self._numbers),
                prefix=prefixes.canonical(request.get("prefix") or ""),
                base=request.get("base") or 0,
                term=None if term is None else read(LeaseTerm, term),
            )
        except ValueError as error:
            raise ConfigError(f"That is no use of a lease: {error}") from None
