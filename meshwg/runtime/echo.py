"""``meshwg ping``: echo requests through the tunnel, and which path answered them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from meshwg.errors import MeshError
from meshwg.node import Node
from meshwg.path.sounding import verdict
from meshwg.peer import MeshPeer, sounding_json
from meshwg.runtime import clock

INTERVAL = 0.2
"""Seconds between two requests."""
ANSWER_TIMEOUT = 2.0
MAX_SEQUENCE = 0xFFFF


class Pinger:
    """Sends echo requests for one command and takes their answers.

    :param identifier: of the requests, by which their answers are told apart.
    :param turn: makes the data plane carry what the node has to send.
    """

    def __init__(
        self, node: Node, peer: MeshPeer, identifier: int, turn: Callable[[], None]
    ) -> None:
        self._node = node
        self._peer = peer
        self._turn = turn
        self._sent_at: dict[int, float] = {}
        self._arrived: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self.identifier = identifier

    def receive(self, sequence: int) -> None:
        """Take the answer to a request."""
        self._arrived.put_nowait((sequence, clock.now()))

    async def run(
        self, count: int | None, until_direct: bool, limit: float | None
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield an object for each answer and each loss, and a summary.

        :param limit: seconds after which to end.
        """
        sent, times, begun_at = 0, [], clock.now()
        deadline = None if limit is None else clock.now() + limit
        try:
            while count is None or sent < count:
                if deadline is not None and clock.now() >= deadline:
                    break
                sent += 1
                rtt = await self._ask(sent & MAX_SEQUENCE, deadline)
                if rtt is not None:
                    times.append(rtt)
                elif times and deadline is not None and clock.now() >= deadline:
                    # There was no time left to wait for this answer.
                    sent -= 1
                    break
                answer = self._answer(sent, rtt, begun_at)
                yield answer
                if until_direct and answer["path"]["kind"] == "direct":
                    break
                await asyncio.sleep(INTERVAL)
        finally:
            self._node.echoes.end(self.identifier)
        milliseconds = round(_median(times) * 1000, 3) if times else None
        yield {
            "summary": {
                "sent": sent,
                "received": len(times),
                "median_ms": milliseconds,
            },
            "path": self._path(),
            "reason": self._peer.reason(clock.now()),
            **self._below(begun_at),
        }

    async def _ask(self, sequence: int, deadline: float | None) -> float | None:
        """Send one request and return its round trip in seconds, ``None`` if lost."""
        now = clock.now()
        if not self._node.ping(self._peer, self.identifier, sequence, now):
            raise MeshError(
                "This node or the peer has no IPv4 address in the mesh: "
                "wait until it has joined"
            )
        self._turn()
        end = now + ANSWER_TIMEOUT
        if deadline is not None:
            end = min(end, deadline)
        try:
            async with asyncio.timeout(max(end - clock.now(), 0.0)):
                while True:
                    answered, at = await self._arrived.get()
                    if answered == sequence:
                        return at - now
        except TimeoutError:
            return None

    def _below(self, since: float) -> dict[str, Any]:
        """Return what checks of the paths say, and what follows for losses."""
        found = self._peer.soundings(since)
        return {
            "checks": [sounding_json(each) for each in found],
            "verdict": verdict(found),
        }

    def _answer(
        self, sequence: int, rtt: float | None, begun_at: float
    ) -> dict[str, Any]:
        entry = self._peer.entry
        return {
            "peer": entry.name,
            "address": next((a for a in entry.addresses if ":" not in a), None),
            "sequence": sequence,
            "rtt_ms": None if rtt is None else round(rtt * 1000, 3),
            "path": self._path(),
            **(self._below(begun_at) if rtt is None else {}),
        }

    def _path(self) -> dict[str, Any]:
        now = clock.now()
        return self._peer.path_json(now, clock.unix_time(now))


def _median(times: Sequence[float]) -> float:
    """Return the median; the module statistics would be half a megabyte in a node."""
    ordered, middle = sorted(times), len(times) // 2
    if len(times) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
