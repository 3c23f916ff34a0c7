"""``meshwg-k8s agent``: the process around the agent of one node, and the node itself.

The agent decides (:mod:`meshwg.kubernetes.agent`); here it hears of the API server, the
machine and the mesh, and what it wants is done, one thing after the other. The node of
the mesh is started as soon as there are networks to offer, and is not stopped for
anything that the API server says.

What pods need stays when the agent stops: another one will come, and till then those of
one node still reach each other. ``meshwg-k8s cleanup`` takes it away.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from meshwg.errors import ConfigError, MeshError
from meshwg.kubernetes.agent import (
    Action,
    Configure,
    NodeAgent,
    OfferNetworks,
    Remember,
    SetCondition,
    Tell,
    Unconfigure,
)
from meshwg.kubernetes.clusternode import ClusterNode, read_node, to_note
from meshwg.kubernetes.verdict import MeshView
from meshwg.routeoptions import RouteOptions
from meshwg.runtime import clock, systemd
from meshwg.runtime.admin import AdminServer
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.commands import NodeCommands
from meshwg.runtime.host import NodeHost
from meshwg.runtime.host_network import automatic_mtu
from meshwg.runtime.kubernetes.api import ClusterApi
from meshwg.runtime.kubernetes.clusterreports import ClusterReports
from meshwg.runtime.kubernetes.credentials import enter_mesh, read_service_token
from meshwg.runtime.kubernetes.flannelside import FlannelSide
from meshwg.runtime.kubernetes.podmachine import PodMachine, forward
from meshwg.runtime.kubernetes.settings import AgentSettings
from meshwg.runtime.membership import ClusterMember
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.tasks import TaskSet

LOOK_INTERVAL = 5.0
"""Seconds between two looks at the machine, where other programs may write lists, and
at the token, which kubelet renews."""
FAREWELL = 5.0
"""Seconds in which the cluster is told why an agent cannot go on."""

logger = logging.getLogger(__name__)


async def run(settings: AgentSettings) -> None:
    """Serve one node of a cluster until it is told to stop.

    :raises MeshError: if it cannot start, or was refused by its mesh for good.
    """
    state = StateDirectory(settings.node.state_dir)
    try:
        process = AgentProcess(settings, state)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, process.stop)
        await process.run()
    finally:
        state.close()


class AgentProcess:
    """The process around one agent."""

    def __init__(self, settings: AgentSettings, state: StateDirectory) -> None:
        self._settings = settings
        self._state = state
        note = state.cluster()
        known = None if note is None else read_node(note)
        if known is not None and known.name != settings.node_name:
            known = None
        self._agent = NodeAgent(settings.node_name, settings.pods, known)
        self._api = ClusterApi(settings.api, settings.node_name)
        self._reports = ClusterReports(self._api, settings.node_name)
        self._reports.node = known
        self._machine = PodMachine(
            settings.network_lists,
            settings.pods.bridge,
            settings.node.interface,
            settings.pods.replaces,
        )
        self._host: NodeHost | None = None
        self._token: str | None = None
        self._alarm = Alarm(self._on_alarm)
        self._wake = asyncio.Event()
        self._has_networks = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks = TaskSet()
        self._surprises = Surprises(logger)

    async def run(self) -> None:
        """Serve until :meth:`stop`.

        :raises MeshError: why it ended otherwise.
        """
        try:
            self._prepare()
            for work in (
                self._work(),
                self._reports.run(),
                self._api.watch(self._on_node),
                self._look_regularly(),
            ):
                self._tasks.run(work)
            await self._serve()
        except MeshError as error:
            self._tasks.cancel()
            await self._take_leave(error)
            raise
        finally:
            self._alarm.clear()
            self._tasks.cancel()
            await self._tasks.wait()

    def stop(self) -> None:
        """End, and leave pods their network."""
        self._stopping.set()
        self._has_networks.set()
        if self._host is not None:
            self._host.stop()

    def _prepare(self) -> None:
        """Do what can fail before anything is changed.

        :raises MeshError: if it does.
        """
        wanted = self._settings.membership
        if wanted is not None:
            enter_mesh(wanted, self._state)
            self._token = self._first_token(wanted.token_file)
        forward()

    def _first_token(self, path: Path) -> str | None:
        """Return the token that the node joins by; a member goes on without one."""
        try:
            return read_service_token(path)
        except ConfigError as error:
            if self._state.netmap() is None:
                raise
            logger.warning("%s", error)
            return None

    async def _serve(self) -> None:
        """Wait until there is something to offer, and be a node until the end."""
        await self._has_networks.wait()
        if self._stopping.is_set():
            return
        async with self._running() as host:
            logger.info(
                "Node %s is up: interface %s, UDP port %d",
                host.name,
                host.interface,
                host.port,
            )
            systemd.notify("READY=1")
            await host.finished.wait()
        if host.leaves:
            self._state.forget()
        if host.failure is not None:
            raise host.failure

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[NodeHost]:
        settings = self._settings
        mtu = settings.node.mtu or automatic_mtu(self._machine.is_inside)
        cluster = ClusterMember(self._token, self._on_mesh)
        routes = tuple(map(str, _routes(self._agent.offered)))
        config = replace(settings.node, routes=routes)
        host = NodeHost(config, self._state, mtu, cluster)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(host.close)
            commands = NodeCommands(host, host.stop)
            admin = AdminServer(commands, settings.node.control_socket)
            await admin.start()
            undo.push_async_callback(admin.close)
            await host.start()
            self._host = host
            self._offer()
            self._on_mesh()
            if settings.flannel is not None:
                name, tell = settings.node_name, self._reports.tell
                side = FlannelSide(settings.flannel, self._api, host, name, tell)
                undo.callback(side.close)
                side.start()
            yield host

    # What is heard.

    def _on_node(self, node: ClusterNode | None) -> None:
        self._reports.node = node
        self._agent.receive_node(node, clock.now())
        self._turn()

    def _on_mesh(self) -> None:
        if self._host is None:
            return
        node = self._host.node
        networks = tuple(map(str, node.members.mesh))
        view = MeshView(
            self._host.interface,
            self._host.mtu,
            networks,
            node.members.own_routes(),
            node.members.offers.routes(),
        )
        self._agent.receive_mesh(view, clock.now())
        self._turn()

    async def _look_regularly(self) -> None:
        while True:
            try:
                machine = await asyncio.to_thread(self._machine.look)
                self._agent.receive_machine(machine, clock.now())
                self._renew_token()
                self._on_mesh()
            except (OSError, MeshError) as error:
                self._surprises.note(error)
            self._turn()
            await asyncio.sleep(LOOK_INTERVAL)

    def _renew_token(self) -> None:
        """Have the token at hand that kubelet has renewed."""
        wanted = self._settings.membership
        if wanted is None:
            return
        try:
            token = read_service_token(wanted.token_file)
        except ConfigError:
            # It was said at the start, and who has joined needs none.
            return
        if token != self._token:
            self._token = token
            # A node that was removed and is back is another one in the cluster, and
            # only a token of since then proves that it is this one.
            self._show_token(at_once=self._is_withheld())

    def _is_withheld(self) -> bool:
        """Tell whether the mesh does not route to what the Node object has."""
        if self._host is None:
            return False
        approved = self._host.node.members.own_routes()
        return any(each not in approved for each in self._agent.offered)

    def _on_alarm(self) -> None:
        self._agent.handle_timer(clock.now())
        self._turn()

    def _turn(self) -> None:
        self._wake.set()
        self._alarm.set(self._agent.get_timer(), clock.now())

    # What is done.

    async def _work(self) -> None:
        """Carry out what the agent wants, in order."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._carry_all_out()

    async def _carry_all_out(self) -> None:
        while (action := self._agent.next_action()) is not None:
            await self._carry_out(action)

    async def _carry_out(self, action: Action) -> None:
        try:
            match action:
                case OfferNetworks():
                    self._offer()
                case Configure(network):
                    await self._machine.configure(network)
                    self._agent.configured(network, clock.now())
                    self._turn()
                case Unconfigure():
                    await self._machine.unconfigure()
                case SetCondition():
                    self._reports.set_condition(action)
                case Tell():
                    self._reports.tell(action)
                case Remember(node):
                    note = None if node is None else to_note(node)
                    self._state.save_cluster(note)
        except (MeshError, OSError) as error:
            self._agent.failed(str(error), clock.now())
            self._turn()

    def _offer(self) -> None:
        if self._agent.offered:
            self._has_networks.set()
        if self._host is None:
            return
        routes = _routes(self._agent.offered)
        if routes != self._host.routes.lasting:
            self._host.routes.serve(routes)
            self._host.offer_routes()
            # The coordinator looks at the token again, and so at the Node object.
            self._show_token(at_once=True)

    def _show_token(self, *, at_once: bool) -> None:
        if self._host is not None and self._token is not None:
            self._host.node.background.show_service_token(
                self._token, clock.now(), at_once=at_once
            )
            self._host.turn()

    async def _take_leave(self, error: MeshError) -> None:
        """Leave no network to pods of a node that is in no mesh, and say why."""
        self._agent.refused(str(error), clock.now())
        with contextlib.suppress(TimeoutError, MeshError):
            async with asyncio.timeout(FAREWELL):
                await self._carry_all_out()
                await self._reports.flush()


def _routes(networks: tuple[str, ...]) -> tuple[RouteOptions, ...]:
    """Return networks as a node offers them: pods see each other's own addresses."""
    return tuple(RouteOptions(each, snat=False) for each in sorted(networks))
