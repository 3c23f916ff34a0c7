"""What a node does for the networks behind it, and a hub for its members.

It has the system forward, keeps the host's firewall from dropping that, asks whether
the networks are there, and lets the others go elsewhere before it stops. Where the
system cannot be had to forward, nothing is changed in it, and peers are told to use
other routers.

The system is changed for what is approved, and only while it is: at the start it is
only seen whether it could be.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from meshwg.errors import MeshError
from meshwg.forwarding import Forwarded, ForwardedRoute
from meshwg.health import Complaint, Severity
from meshwg.node import Node
from meshwg.routeoptions import RouteOptions
from meshwg.routing import DEFAULTS
from meshwg.runtime import clock
from meshwg.runtime.firewall import Firewall, owner_of, remove_rules
from meshwg.runtime.forwarding import Forwarding
from meshwg.runtime.lanprobe import LanProbe
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.tasks import TaskSet

NOT_FORWARDED = "route-not-forwarded"
NOT_PROBED = "route-not-probed"
LOOK = 0.02
"""Seconds between two looks whether all peers have heard that this node stops."""
LOOKS = 75
"""How often it is looked at most."""
AFTERWARDS = 0.3
"""Seconds to forward what was on its way to this node, and the answers to that."""

logger = logging.getLogger(__name__)


class SubnetRouter:
    """The forwarding of one node.

    :param turn: carries out what the node was told.
    :param offered: returns the networks that it forwards to, approved or not.
    :param mtu: of the interface, in bytes.
    :param may_be_hub: whether the node offers itself as a hub.
    :param may_be_exit: whether the node offers itself as an exit.
    :param fwmark: of the node's own sockets.
    """

    def __init__(
        self,
        node: Node,
        interface: str,
        state: StateDirectory,
        turn: Callable[[], None],
        offered: Callable[[], Sequence[RouteOptions]],
        *,
        mtu: int,
        may_be_hub: bool,
        may_be_exit: bool = False,
        fwmark: int,
    ) -> None:
        self._node = node
        self._interface = interface
        self._turn = turn
        self._offered = offered
        self._may_be_hub = may_be_hub
        self._may_be_exit = may_be_exit
        self._fwmark = fwmark
        self._forwarding = Forwarding(interface, state, mtu=mtu)
        self._firewall = Firewall(interface, node.health)
        self._networks: tuple[str, ...] = ()
        self._announced: tuple[str, ...] = ()
        self._is_hub = self._is_exit = False
        self._probes: dict[tuple[str, str], LanProbe] = {}
        self._tasks = TaskSet()
        self._is_leaving = False

    async def start(self) -> None:
        """Undo what a killed node left, and see whether the system would forward.

        :raises MeshError: if it would not, and the node is to be a hub.
        """
        if await self._forwarding.recover():
            await remove_rules({owner_of(self._interface)})
        if self._may_be_hub:
            await self._forwarding.check()
        elif self._offered() or self._may_be_exit:
            try:
                await self._forwarding.check()
            except MeshError as error:
                self._complain(error)
        await self._firewall.start()

    async def close(self) -> None:
        """Undo everything."""
        for probe in self._probes.values():
            probe.close()
        self._probes.clear()
        await self._firewall.close()
        # What was begun is not left half done.
        await self._tasks.wait()
        if self._forwarding.is_on:
            await self._forwarding.disable()

    def want(
        self,
        networks: Iterable[str],
        announced: Iterable[str],
        *,
        is_hub: bool = False,
        is_exit: bool = False,
    ) -> None:
        """Take note of the mesh's networks, and of those behind this node.

        :param announced: those that are approved, as the mesh knows them.
        :param is_hub: whether members reach each other through this node.
        :param is_exit: whether the internet is behind it, too.
        """
        self._networks, self._announced = tuple(networks), tuple(announced)
        self._is_hub, self._is_exit = is_hub, is_exit
        self.refresh()

    def refresh(self) -> None:
        """Take note that networks behind this node are served in another way."""
        routes = self.approved()
        behind = [each.prefix for each in routes]
        internet = map(str, DEFAULTS.values()) if self._is_exit else ()
        self._firewall.want(self._networks, [*behind, *internet], forwards=self._is_hub)
        self._watch(routes)
        wanted = Forwarded(
            tuple(map(_forwarded, routes)), self._is_hub, self._is_exit, self._networks
        )
        self._tasks.run(self._forward(wanted))

    def approved(self) -> tuple[RouteOptions, ...]:
        """Return the networks behind this node that others are told of."""
        known = self._announced
        return tuple(each for each in self._offered() if each.announced in known)

    async def leave(self) -> None:
        """Let peers go elsewhere, while this node still forwards."""
        if not self._announced or self._is_leaving:
            return
        self._is_leaving = True
        self._node.own_routes.leave(clock.now())
        self._turn()
        own_routes = self._node.own_routes
        if own_routes.has_told():
            return
        for _ in range(LOOKS):
            await asyncio.sleep(LOOK)
            if own_routes.has_told():
                break
        await asyncio.sleep(AFTERWARDS)

    # Forwarding.

    async def _forward(self, wanted: Forwarded) -> None:
        try:
            await self._forwarding.want(wanted)
        except MeshError as error:
            self._complain(error)
        else:
            if wanted:
                self._node.health.clear(NOT_FORWARDED)
            self._tell_dead()

    def _complain(self, error: MeshError) -> None:
        complaint = Complaint(
            NOT_FORWARDED,
            Severity.FAILURE,
            f"Nobody reaches anything through this node: {error}.",
            "Start the node again after that.",
        )
        if complaint not in self._node.health:
            logger.warning("%s", complaint.text)
        self._node.health.set(complaint)
        self._tell_dead()

    # Whether the networks are there.

    def _watch(self, routes: Collection[RouteOptions]) -> None:
        """Probe the networks that are to be probed, and no others."""
        wanted = {
            (each.announced, each.probe) for each in routes if each.probe is not None
        }
        for key in [each for each in self._probes if each not in wanted]:
            self._probes.pop(key).close()
        complaint = None
        for network, address in sorted(wanted):
            if (network, address) in self._probes:
                continue
            try:
                probe = LanProbe(address, self._fwmark, self._tell_dead)
            except MeshError as error:
                complaint = _not_probed(network, error)
                continue
            self._probes[network, address] = probe
        if wanted and complaint is not None:
            logger.warning("%s", complaint.text)
        self._node.health.put(NOT_PROBED, complaint)
        self._tell_dead()

    def _tell_dead(self) -> None:
        """Tell peers which networks this node does not reach."""
        if self._is_leaving:
            return
        dead = [
            network for (network, _), probe in self._probes.items() if probe.is_dead
        ]
        forwards = all(each.code != NOT_FORWARDED for each in self._node.health)
        if not forwards:
            # What this machine has itself needs no forwarding.
            dead = [each.announced for each in self.approved()]
        own_routes = self._node.own_routes
        if sorted(dead) != list(own_routes.dead):
            own_routes.set_dead(sorted(dead), clock.now(), is_probed=forwards)
            # Not here: this may be in the middle of what the last turn brought.
            asyncio.get_running_loop().call_soon(self._turn)


def _forwarded(route: RouteOptions) -> ForwardedRoute:
    return ForwardedRoute(route.announced, route.prefix, masquerade=route.snat)


def _not_probed(network: str, error: MeshError) -> Complaint:
    return Complaint(
        NOT_PROBED,
        Severity.WARNING,
        f"It is not known whether {network} can be reached: {error}.",
        "Start the node again after that, or leave 'probe=' out.",
    )
