"""The shell around port mapping: sockets towards the gateway, timers and UPnP calls.

:class:`PortMapper` keeps a port mapped for as long as a node runs; :func:`probe` asks
once what the gateway can do. Neither blocks the loop and neither raises: a network
without port mapping is the ordinary case.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from meshwg.nat.gateway import (
    Mapped,
    MappedProtocol,
    MappingChanged,
    MappingMethod,
    PortMappingEvent,
    UpnpReleased,
    UpnpRequested,
    is_usable,
)
from meshwg.nat.gateway_probe import GatewayProbe
from meshwg.nat.portmap import LIFETIME, PortMapping
from meshwg.runtime.default_gateway import Gateway, find_gateway
from meshwg.runtime.gateway_socket import Announcements, GatewayDriver
from meshwg.runtime.tasks import TaskSet
from meshwg.runtime.upnp import UpnpFailed, UpnpGateway
from meshwg.transmit import Endpoint

PROBE_LIMIT = 1.5
"""Seconds that a probe takes at most."""
PROBE_SILENCE = 0.5
"""Seconds that a probe waits for a gateway that says nothing at all. A search that is
addressed to it alone is answered at once."""
PROBE_LIFETIME = 120
STOP_LIMIT = 2.0
"""Seconds in which a mapping is given back, or else left to run out."""

logger = logging.getLogger(__name__)

OnChange = Callable[[Mapped | None, str], None]
FindGateway = Callable[[socket.AddressFamily], Gateway | None]


class PortMapper:
    """Keeps one port mapped at the default gateway of one address family."""

    def __init__(
        self,
        on_change: OnChange | None = None,
        *,
        family: socket.AddressFamily = socket.AF_INET,
        protocol: MappedProtocol = MappedProtocol.UDP,
        methods: frozenset[MappingMethod] = frozenset(MappingMethod),
        lifetime: int = LIFETIME,
        find: FindGateway = find_gateway,
    ) -> None:
        """Make a mapper that waits for :meth:`start`.

        :param on_change: called with the mapping, or ``None``, and a sentence why.
        :param lifetime: the lifetime to ask for, in seconds.
        :param find: tells the default gateway.
        """
        self.settled = asyncio.Event()
        """Set once the gateway's first answer, or silence, has been understood."""
        self._on_change = on_change
        self._family = family
        self._protocol = protocol
        self._find = find
        self._methods = methods
        self._lifetime = lifetime
        self._machine = PortMapping(0, os.urandom)
        self._driver: GatewayDriver | None = None
        self._gateway: Gateway | None = None
        self._announcements: Announcements | None = None
        self._upnp: UpnpGateway | None = None
        self._upnp_request: asyncio.Task[None] | None = None
        self._tasks = TaskSet()

    @property
    def mapped(self) -> Mapped | None:
        """The mapping, if there is one."""
        return self._machine.mapped

    @property
    def reason(self) -> str:
        """The state of the mapping in one sentence."""
        return self._machine.reason

    @property
    def drops(self) -> dict[str, int]:
        """What was ignored, by reason."""
        return {drop.value: count for drop, count in self._machine.drops.items()}

    def start(self, internal_port: int) -> None:
        """Begin to keep a local port mapped, within the running loop."""
        self._machine = PortMapping(
            internal_port,
            os.urandom,
            protocol=self._protocol,
            methods=self._methods,
            lifetime=self._lifetime,
        )
        self._driver = GatewayDriver(self._machine, self._handle_events)
        self.network_changed()

    def network_changed(self) -> None:
        """Look for the gateway again: addresses or routes have changed."""
        if self._driver is None:
            return
        gateway = self._find(self._family)
        if gateway != self._gateway:
            self._move_to(gateway, self._driver)
        if gateway is not None:
            self._machine.set_gateway(gateway.address, gateway.local, _now())
        else:
            self._machine.set_gateway(None, "", _now())
        self._driver.turn()

    async def stop(self) -> None:
        """Give the mapping back, and wait a little until that is done."""
        if self._driver is None:
            return
        self._machine.stop(_now())
        self._driver.turn()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT):
                await self._driver.finished.wait()
                await self._tasks.wait()
        self._tasks.cancel()
        self._move_to(None, self._driver)
        self._driver.close()
        self._driver = None

    def _move_to(self, gateway: Gateway | None, driver: GatewayDriver) -> None:
        """Leave the old gateway and everything that belongs to it."""
        self._gateway, self._upnp = gateway, None
        if self._upnp_request is not None:
            self._upnp_request.cancel()
        if self._announcements is not None:
            self._announcements.close()
            self._announcements = None
        if gateway is None:
            driver.disconnect()
        else:
            driver.connect(gateway)
            self._announcements = Announcements(gateway, self._hear)

    def _hear(self, data: bytes, source: Endpoint) -> None:
        self._machine.receive_announcement(data, source, _now())
        if self._driver is not None:
            self._driver.turn()

    def _handle_events(self) -> None:
        while (event := self._machine.next_event()) is not None:
            self._handle_event(event)
        if self._machine.settled:
            self.settled.set()

    def _handle_event(self, event: PortMappingEvent) -> None:
        if isinstance(event, MappingChanged):
            logger.debug("%s", event.reason)
            if self._on_change is not None:
                self._on_change(event.mapped, event.reason)
        elif isinstance(event, UpnpRequested):
            if self._upnp_request is not None:
                self._upnp_request.cancel()
            self._upnp_request = self._tasks.run(self._map_by_upnp(event))
        elif isinstance(event, UpnpReleased):
            self._tasks.run(self._unmap_by_upnp(event))

    async def _map_by_upnp(self, request: UpnpRequested) -> None:
        if self._gateway is None or self._driver is None:
            return
        try:
            if self._upnp is None:
                gateway = self._gateway
                self._upnp = await UpnpGateway.find(
                    gateway.address,
                    gateway.local,
                    gateway.fwmark,
                    protocol=self._protocol,
                )
            external, lifetime = await self._upnp.map(
                request.internal_port, request.external_port, request.lifetime
            )
        except UpnpFailed as failure:
            self._upnp = None
            self._machine.receive_upnp_failure(str(failure), _now())
        else:
            self._machine.receive_upnp(external, lifetime, _now())
        self._driver.turn()

    async def _unmap_by_upnp(self, release: UpnpReleased) -> None:
        if self._upnp is not None:
            try:
                await self._upnp.unmap(release.external_port)
            except UpnpFailed as failure:
                logger.debug("UPnP %s", failure)


@dataclass(slots=True)
class PortMappingReport:
    """Which protocols the default gateway speaks."""

    pcp: bool = False
    nat_pmp: bool = False
    upnp: bool = False
    external: Endpoint | None = None
    """Where the port was mapped for a moment; only if one was to be."""


async def probe(
    internal_port: int | None = None,
    *,
    find: FindGateway = find_gateway,
    report: PortMappingReport | None = None,
) -> PortMappingReport:
    """Ask the default gateway of IPv4 which port mapping protocols it speaks.

    :param internal_port: a local UDP port to map for a moment, to learn the external
        endpoint; without it nothing is left in the gateway, not even for a moment.
    :param report: what to fill in, for those who do not want to wait for the end.
    """
    if report is None:
        report = PortMappingReport()
    gateway = find(socket.AF_INET)
    if gateway is None:
        return report
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PROBE_LIMIT), asyncio.TaskGroup() as group:
            questions = _probe_by_questions(gateway, internal_port, report)
            asked = group.create_task(questions)
            group.create_task(_probe_by_upnp(gateway, internal_port, report, asked))
    return report


async def _probe_by_questions(
    gateway: Gateway, internal_port: int | None, report: PortMappingReport
) -> None:
    machine = GatewayProbe(gateway.address, gateway.local, _now())
    driver = GatewayDriver(machine)
    driver.connect(gateway)
    try:
        driver.turn()
        await driver.finished.wait()
    finally:
        driver.close()
    report.pcp, report.nat_pmp = bool(machine.pcp), bool(machine.nat_pmp)
    spoken = {MappingMethod.PCP: report.pcp, MappingMethod.NAT_PMP: report.nat_pmp}
    methods = frozenset(method for method in spoken if spoken[method])
    if methods and internal_port is not None:
        await _map_for_a_moment(gateway, internal_port, methods, report)


async def _map_for_a_moment(
    gateway: Gateway,
    internal_port: int,
    methods: frozenset[MappingMethod],
    report: PortMappingReport,
) -> None:
    mapper = PortMapper(
        methods=methods, lifetime=PROBE_LIFETIME, find=lambda family: gateway
    )
    try:
        mapper.start(internal_port)
        await mapper.settled.wait()
        if mapper.mapped is not None:
            report.external = mapper.mapped.external
    finally:
        await mapper.stop()


async def _probe_by_upnp(
    gateway: Gateway,
    internal_port: int | None,
    report: PortMappingReport,
    asked: asyncio.Task[None],
) -> None:
    with contextlib.suppress(UpnpFailed):
        upnp = await UpnpGateway.find(
            gateway.address, gateway.local, gateway.fwmark, PROBE_SILENCE
        )
        report.upnp = True
        await asked
        if internal_port is not None and report.external is None:
            external, _ = await upnp.map(internal_port, internal_port, PROBE_LIFETIME)
            report.external = external if is_usable(external) else None
            await upnp.unmap(external.port)


def _now() -> float:
    return asyncio.get_running_loop().time()
