"""What a running node knows of its network, in the form of ``meshwg netcheck``.

Behind a node NAT discovery goes on all the time, so nobody has to wait for it: what is
known is said at once, with its age, and what is old is looked at again behind the
answer. Only the port mapping protocols that the gateway speaks are asked for by nobody
else: the node's own mapper ends with the first that works.
"""

import asyncio
import socket

from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.gateway import Mapped, MappingMethod
from meshwg.runtime import clock
from meshwg.runtime.default_gateway import Gateway, find_gateway
from meshwg.runtime.host import NodeHost
from meshwg.runtime.netcheck import NetcheckReport, PortMappingSummary
from meshwg.runtime.portmap import PortMappingReport, probe
from meshwg.runtime.tasks import TaskSet

STALE = 30.0
"""Seconds after which what is known is looked at again."""
GATEWAY_PATIENCE = 0.1
"""Seconds to wait for a gateway that was not asked before. It is the next machine:
one that speaks a protocol answers within milliseconds."""


class KnownNetwork:
    """What one host knows of its network."""

    def __init__(self, host: NodeHost) -> None:
        self._host = host
        self._gateway = KnownGateway(host.fwmark)

    async def report(self, limit: float, *, fresh: bool = False) -> NetcheckReport:
        """Return what is known; wait only where nothing is.

        :param limit: seconds to wait at most.
        :param fresh: look again, and wait for that.
        """
        whereabouts = self._host.node.whereabouts
        patience = limit if fresh else min(limit, GATEWAY_PATIENCE)
        asking = asyncio.create_task(self._gateway.ask(patience, fresh=fresh))
        if fresh:
            self._host.look_again(at_once=True)
        await self._host.wait_until_looked(limit)
        spoken = await asking
        age = None
        if whereabouts.looked_at is not None:
            age = clock.now() - whereabouts.looked_at
        report = NetcheckReport(
            (whereabouts.nat[4] if whereabouts.has(4) else None) or NatBehavior(),
            whereabouts.nat[6] if whereabouts.has(6) else None,
            [each for servers in whereabouts.servers.values() for each in servers],
            port_mapping=summary(spoken, self._host.mapped),
            age=age,
        )
        if age is not None and age > STALE:
            self._host.look_again(at_once=False)
        return report


class KnownGateway:
    """Which port mapping protocols the default gateway speaks.

    :param fwmark: marks what is sent to it (SO_MARK), 0 for no mark.
    """

    def __init__(self, fwmark: int = 0) -> None:
        self._fwmark = fwmark
        self._gateway: Gateway | None = None
        self._known: PortMappingReport | None = None
        self._coming = PortMappingReport()
        """What the answers so far say."""
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._tasks = TaskSet()

    async def ask(self, limit: float, *, fresh: bool = False) -> PortMappingReport:
        """Return what is known; wait only where nothing is.

        :param limit: seconds to wait at most.
        :param fresh: ask again, and wait for that.
        """
        gateway = find_gateway(socket.AF_INET, self._fwmark)
        if gateway != self._gateway or fresh:
            self._gateway, self._known = gateway, None
            self._asked_at = float("-inf")
        now = clock.now()
        if now > self._asked_at + STALE:
            self._asked_at = now
            self._begin(gateway)
        if self._known is None and self._asking is not None:
            await asyncio.wait([self._asking], timeout=limit)
        return self._known or self._coming

    def _begin(self, gateway: Gateway | None) -> None:
        """Ask, instead of whatever is asked."""
        if self._asking is not None:
            self._asking.cancel()
        self._coming = PortMappingReport()
        self._asking = self._tasks.run(self._learn(gateway, self._coming))

    async def _learn(self, gateway: Gateway | None, report: PortMappingReport) -> None:
        self._known = await probe(find=lambda family: gateway, report=report)


def summary(spoken: PortMappingReport, mapped: Mapped | None) -> PortMappingSummary:
    """Return what a gateway speaks and forwards.

    :param spoken: what it was found to speak, perhaps not all of it yet.
    :param mapped: the port that it forwards, by a protocol that it speaks then.
    """
    method = None if mapped is None else mapped.method
    return PortMappingSummary(
        spoken.pcp or method is MappingMethod.PCP,
        spoken.nat_pmp or method is MappingMethod.NAT_PMP,
        spoken.upnp or method is MappingMethod.UPNP,
        None if mapped is None else mapped.external,
    )
