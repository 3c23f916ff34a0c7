"""A daemon that was taken down: it answers commands, and waits to be told otherwise.

It has no interface, no sockets and no connection. That it is down is a file in the
state directory, so it stays down when it, or the machine, is started again.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from meshwg.config import NodeConfig
from meshwg.errors import MeshError
from meshwg.keys import format_key
from meshwg.node.trust import Trust
from meshwg.routeoptions import RouteOptions
from meshwg.runtime import clock, systemd
from meshwg.runtime.admin import AdminServer
from meshwg.runtime.exits import let_out
from meshwg.runtime.hangup import on_hangup
from meshwg.runtime.membership import MembershipRecord
from meshwg.runtime.offered_routes import OfferedRoutes
from meshwg.runtime.route_report import own_routes
from meshwg.runtime.state import StateDirectory
from meshwg.status import NO_NAMES, SCHEMA, standby_status, trust_status
from meshwg.wire.routes import ApprovalState, RouteState

logger = logging.getLogger(__name__)

DOWN = "This node is down: 'meshwg up' connects it"


class Standby:
    """Answers commands of a node that is down.

    :raises NotJoined: if it belongs to no mesh.
    """

    def __init__(self, config: NodeConfig, state: StateDirectory) -> None:
        self.goes_up = False
        """Whether it ended because the node is to be connected."""
        self.listens = asyncio.Event()
        """Set once it can be asked."""
        self._config = config
        self._state = state
        self._membership = MembershipRecord(config, state)
        self._key = state.private_key(os.urandom)
        self._since = clock.unix_time(clock.now())
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Serve until the node is to be connected, or the process to end."""
        admin = AdminServer(self, self._config.control_socket)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(admin.close)
            await admin.start()
            self.listens.set()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._finished.set)
            on_hangup(lambda: None, self._finished.set)
            logger.info("%s", DOWN)
            systemd.notify("READY=1", "STATUS=Down")
            await self._finished.wait()
            if not self.goes_up:
                systemd.notify("STOPPING=1")

    # What can be asked.

    def status(self, *, brief: bool = False) -> Iterator[bytes]:
        """Return ``meshwg status --json``, in one part."""
        yield json.dumps(self._report()).encode()

    def _report(self) -> dict[str, Any]:
        cached = self._membership.cached_netmap()
        registered = None if cached is None else cached.registered
        return standby_status(
            name=registered.name if registered else self._config.name or "",
            public_key=format_key(self._key.public_bytes),
            addresses=registered.addresses if registered else (),
            interface=self._config.interface,
            coordinator_url=self._membership.stored.url,
            since=self._since,
            why=DOWN,
        )

    async def netcheck(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: there are no sockets to look with."""
        raise MeshError(DOWN)

    def ping(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Refuse: there is no tunnel."""
        raise MeshError(DOWN)

    def why(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: nothing is reached."""
        raise MeshError(DOWN)

    async def join(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: there is no connection to join by."""
        raise MeshError(DOWN)

    def trust(self) -> dict[str, Any]:
        """Return ``meshwg trust list --json``, as it was saved."""
        return trust_status(Trust(self._state.pins()))

    def accept(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: who is there now is not known."""
        raise MeshError(DOWN)

    def exits(self) -> dict[str, Any]:
        """Return ``meshwg exit list --json``: no exit is used now."""
        return {"schema": SCHEMA, "using": None, "exits": []}

    async def use_exit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: no exit is known."""
        raise MeshError(DOWN)

    async def exit_off(self) -> dict[str, Any]:
        """Use no exit when the node is up again."""
        return await let_out(self._config.interface, self._state)

    def routes(self) -> dict[str, Any]:
        """Return ``meshwg route list --json``: nobody is told of anything now."""
        offered = OfferedRoutes(self._config.routes, self._state).current
        return {"schema": SCHEMA, "own": _withdrawn(offered), "peers": []}

    def add_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Offer a network when the node is connected again."""
        offered = OfferedRoutes(self._config.routes, self._state)
        (shown,) = _withdrawn([offered.add(request.get("route") or "")])
        return shown

    def remove_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Offer a network no more when the node is connected again."""
        offered = OfferedRoutes(self._config.routes, self._state)
        return {"prefix": offered.remove(request.get("route") or "").announced}

    def hold_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: nobody is told of anything."""
        raise MeshError(DOWN)

    async def use_lease(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: there is no coordinator to ask."""
        raise MeshError(DOWN)

    def dns(self) -> dict[str, Any]:
        """Return ``meshwg dns status --json``."""
        return {"schema": SCHEMA, **NO_NAMES, "error": DOWN}

    async def dns_query(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: names are not answered for."""
        raise MeshError(DOWN)

    def shut_down(self) -> None:
        """Stay down."""

    def go_up(self) -> None:
        """Let the node be connected, from now on."""
        self._state.set_down(False)
        self.goes_up = True
        self._finished.set()

    def leave(self) -> dict[str, Any]:
        """Forget the mesh, which is not told."""
        self._state.forget()
        self._finished.set()
        return {"told": False}


def _withdrawn(routes: Sequence[RouteOptions]) -> list[dict[str, Any]]:
    """Return networks of a node that is down."""
    state = ApprovalState.WITHDRAWN
    states = [
        RouteState(prefix=each.announced, state=state, reason=DOWN) for each in routes
    ]
    return own_routes(routes, states)
