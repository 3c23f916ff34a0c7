"""``meshwg node``: one node with its sockets, timers, files and interface.

The daemon decides nothing. It carries bytes between the node and the system, and does
what the node's events ask for.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from meshwg import __version__
from meshwg.config import NodeConfig
from meshwg.control.client import ControlClient, Identity
from meshwg.errors import ConfigError, CoordinatorError, MeshError, NotJoined
from meshwg.nat.behaviour import NatBehavior
from meshwg.nat.gateway import Mapped
from meshwg.node import (
    EchoReceived,
    Expelled,
    InterfaceChanged,
    Joined,
    NetmapChanged,
    Node,
    NodeEvent,
    PathChanged,
    ServersChanged,
    SocketsClosed,
    SocketsWanted,
)
from meshwg.path import events as path_events
from meshwg.peer import MeshPeer
from meshwg.relay.pool import CloseStream, OpenStream
from meshwg.runtime import clock, systemd
from meshwg.runtime.admin import AdminServer
from meshwg.runtime.control import ControlLink
from meshwg.runtime.dataplane import Dataplane
from meshwg.runtime.echo import Pinger
from meshwg.runtime.forwarding import Forwarding
from meshwg.runtime.interface import (
    MeshInterface,
    Network,
    NetworkWatcher,
    automatic_mtu,
    look_around,
)
from meshwg.runtime.netcheck import (
    NetcheckReport,
    measure_lifetime,
    probe_port_mapping,
)
from meshwg.runtime.portmap import PortMapper
from meshwg.runtime.resolver import Resolver
from meshwg.runtime.saver import NetmapSaver
from meshwg.runtime.state import Membership, StateDirectory
from meshwg.runtime.stream import RelayStream
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.status import status
from meshwg.transmit import Endpoint
from meshwg.wire.control import load_cache
from meshwg.wire.token import JoinToken

SLEEP_CHECK = 5.0
"""Seconds between two looks whether the machine was asleep."""
NETCHECK_LIMIT = 5.0
MAX_PINGERS = 64
NAMES_SHOWN = 20
SLEPT = 2.0
"""Seconds that the clocks must have drifted apart for that."""

logger = logging.getLogger(__name__)


async def run(config: NodeConfig) -> None:
    """Run a node until it is told to stop, in a :class:`PacketLoop`.

    :raises MeshError: if it cannot start, or was refused by its mesh for good.
    """
    state = StateDirectory(config.state_dir)
    try:
        mtu = config.mtu or await automatic_mtu()
        await Daemon(config, state, mtu).run()
    finally:
        state.close()


class Daemon:
    """A node and everything it owns in this system."""

    def __init__(self, config: NodeConfig, state: StateDirectory, mtu: int) -> None:
        self._config = config
        self._mtu = mtu
        self._state = state
        self._membership = _membership(config, state)
        self._loop = asyncio.get_running_loop()
        self._finished = asyncio.Event()
        self._failure: MeshError | None = None
        self._is_expelled = False
        self._mapper = PortMapper(self._on_mapped) if config.port_mapping else None
        self._pingers: dict[int, Pinger] = {}
        self._links: dict[int, UdpSocket | RelayStream] = {}
        self._next_link = 0
        self._drift = _drift()
        self._looked: asyncio.Event | None = None
        self._network = Network((), (), ())
        self._hidden: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolver = Resolver(self._use_servers)
        self._open()

    def _open(self) -> None:
        """Make the interface and the sockets; on failure nothing is left of them."""
        config, now = self._config, clock.now()
        private_key = self._state.private_key(os.urandom)
        self._client = ControlClient(
            Identity(
                private_key,
                self._membership.coordinator_key,
                config.name or socket.gethostname(),
                auth_key=self._membership.auth_key,
                role=config.role,
                routes=config.routes,
                software=f"meshwg {__version__}",
            ),
            now=now,
            random=os.urandom,
            cache=self._cached_netmap(),
        )
        self._tun = TunDevice.open(config.interface, self._mtu)
        try:
            self._sockets = _open_sockets(
                config.listen_port, self._state.last_port(), self._on_unpinned
            )
        except BaseException:
            self._tun.close()
            raise
        self._node = Node(
            private_key,
            self._client,
            random=os.urandom,
            unix_time=clock.unix_time,
            listen_port=self._sockets.port,
            now=now,
            birthday=config.birthday,
        )
        self._node.device.mtu = self._mtu
        self._state.save_port(self._sockets.port)

    async def run(self) -> None:
        """Carry until a signal, ``meshwg down``, or the end of the membership."""
        self._interface = MeshInterface(self._tun.name)
        for sock in self._sockets:
            sock.refused_interface = self._interface.index
        self._dataplane = Dataplane(
            self._node,
            self._tun,
            on_tun_gone=self._on_tun_gone,
            on_turn=self._on_turn,
        )
        self._control = ControlLink(
            self._client, self._membership.url, self._on_control_activity
        )
        self._saver = NetmapSaver(self._state, self._client.cache)
        async with contextlib.AsyncExitStack() as undo:
            await self._start(undo)
            logger.info(
                "Node %s is up: interface %s, UDP port %d",
                self._config.name or socket.gethostname(),
                self._tun.name,
                self._sockets.port,
            )
            systemd.notify("READY=1", "STATUS=Running")
            await self._finished.wait()
            systemd.notify("STOPPING=1")
        if self._failure is not None:
            raise self._failure

    async def _start(self, undo: contextlib.AsyncExitStack) -> None:
        """Begin everything, and leave it to ``undo`` to end it in reverse."""
        admin = AdminServer(self, self._config.control_socket)
        # The socket is the last to go: 'meshwg down' waits for that.
        undo.push_async_callback(admin.close)
        undo.push_async_callback(self._close)
        await admin.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.shut_down)
        forwarding = Forwarding(self._tun.name, self._state)
        await forwarding.recover()
        if self._config.role == "hub":
            undo.push_async_callback(forwarding.disable)
            await forwarding.enable()
        await self._interface.up(self._mtu)
        watcher = NetworkWatcher(
            lambda: self._run(self._look_around()),
            except_interface=self._interface.index,
        )
        undo.callback(watcher.close)
        self._network = await look_around(self._interface.index)
        self._node.set_hosts(
            self._network.addresses, clock.now(), self._network.networks
        )
        self._dataplane.start(self._sockets)
        if self._mapper is not None:
            self._mapper.start(self._sockets.port)
        self._run(self._watch_sleep())

    async def _close(self) -> None:
        """Take leave, and give everything back to the system."""
        self._finished.set()
        self._node.stop(clock.now())
        for transmit in self._node.datagrams_to_send():
            (self._links.get(transmit.destination.link) or self._sockets).send(transmit)
        await self._control.close()
        if self._mapper is not None:
            await self._mapper.stop()
        self._dataplane.stop()
        for link in self._links.values():
            link.close()
        self._resolver.close()
        for task in self._tasks:
            task.cancel()
        self._sockets.close()
        self._tun.close()
        await self._saver.close()
        if self._is_expelled:
            self._state.forget_netmap()

    # What the commands ask (meshwg.runtime.admin.Daemon).

    def status(self) -> dict[str, Any]:
        """Return ``meshwg status --json``."""
        now = clock.now()
        return status(
            self._node,
            name=self._config.name or socket.gethostname(),
            interface=self._tun.name,
            mtu=self._mtu,
            coordinator_url=self._membership.url,
            now=now,
            unix_time=clock.unix_time(now),
        )

    async def netcheck(self, request: dict[str, Any]) -> dict[str, Any]:
        """Look at the network anew; return ``meshwg netcheck --json``."""
        limit = min(float(request.get("timeout") or NETCHECK_LIMIT), NETCHECK_LIMIT)
        whereabouts = self._node.whereabouts
        mapping = asyncio.create_task(probe_port_mapping(limit))
        self._node.background.look_again(clock.now())
        looked = self._looked = asyncio.Event()
        self._dataplane.turn()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await looked.wait()
        ipv4 = whereabouts.nat[4] or NatBehavior()
        server = whereabouts.stun_server()
        if request.get("lifetime") and server is not None and ipv4.reachable:
            ipv4 = replace(ipv4, lifetime=await measure_lifetime(server))
        report = NetcheckReport(
            ipv4,
            whereabouts.nat[6],
            [each for servers in whereabouts.servers.values() for each in servers],
            port_mapping=await mapping,
        )
        return report.to_json()

    async def ping(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Send echo requests to a peer and yield what comes of each."""
        peer = self._find_peer(request)
        if len(self._pingers) >= MAX_PINGERS:
            raise MeshError("Too many pings at a time: wait until others have ended")
        identifier = int.from_bytes(os.urandom(2))
        while identifier in self._pingers:
            identifier = int.from_bytes(os.urandom(2))
        pinger = Pinger(self._node, peer, identifier, self._dataplane.turn)
        self._pingers[identifier] = pinger
        answers = pinger.run(
            request.get("count"),
            bool(request.get("until_direct")),
            request.get("timeout"),
        )
        try:
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield answer
        finally:
            del self._pingers[identifier]

    def _find_peer(self, request: dict[str, Any]) -> MeshPeer:
        if self._client.registered is None:
            raise NotJoined(
                "This node has not joined a mesh yet: see 'meshwg status' for why"
            )
        name = request.get("peer") or ""
        peer = self._node.members.find(name)
        if peer is None:
            known = sorted(peer.entry.name for peer in self._node.peers.values())
            raise MeshError(
                f"There is no peer '{name}': use one of {_shortened(known) or 'none'}"
            )
        return peer

    def shut_down(self) -> None:
        """Stop the daemon cleanly."""
        self._finished.set()

    # What happens.

    def _on_turn(self, now: float) -> None:
        while (event := self._node.next_event()) is not None:
            self._carry_out(event, now)
        if self._looked is not None and not self._node.whereabouts.is_looking:
            self._looked.set()
            self._looked = None
        if not self._finished.is_set():
            # At the end, what is left to say goes out first: see _close.
            self._control.update()

    def _carry_out(self, event: NodeEvent, now: float) -> None:
        """Do what the node wants done."""
        match event:
            case InterfaceChanged(addresses, routes, hidden):
                self._warn_of_hidden(hidden)
                self._run(self._configure(addresses, routes))
            case ServersChanged(stun, relays):
                self._resolver.resolve(stun, relays)
            case SocketsWanted(request, family, count):
                self._open_links(request, family, count)
            case SocketsClosed(links):
                for link in links:
                    self._close_link(link)
            case OpenStream(link, server):
                self._open_stream(link, server)
            case CloseStream(link):
                self._close_link(link)
            case EchoReceived(identifier, sequence):
                if identifier in self._pingers:
                    self._pingers[identifier].receive(sequence)
            case NetmapChanged():
                self._saver.change()
            case Joined(notice):
                self._on_joined(notice)
            case Expelled():
                self._on_expelled(event)
            case PathChanged(peer, change):
                _log_path(peer.entry.name, change)

    def _warn_of_hidden(self, networks: tuple[str, ...]) -> None:
        for network in sorted({*networks} - self._hidden):
            logger.warning(
                "The route to %s is not used: this machine is in such a network itself",
                network,
            )
        self._hidden = {*networks}

    def _on_joined(self, notice: str) -> None:
        logger.info("Connected to the coordinator %s", self._membership.url)
        if notice:
            logger.warning("%s", notice)
        if self._membership.auth_key is not None:
            self._membership = Membership(
                self._membership.url, self._membership.coordinator_key
            )
            try:
                self._state.save_membership(self._membership)
            except MeshError as error:
                logger.error("%s", error)

    def _on_expelled(self, event: Expelled) -> None:
        if event.forget:
            self._is_expelled = True
        self._failure = CoordinatorError(f"{event.reason.rstrip('.')}.")
        self._finished.set()

    def _on_control_activity(self) -> None:
        self._node.control_changed(clock.now())
        self._dataplane.wake()

    def _on_unpinned(self, endpoint: Endpoint) -> None:
        self._node.endpoint_failed(endpoint, clock.now())

    def _on_tun_gone(self) -> None:
        self._failure = MeshError(
            f"The interface {self._tun.name} was removed: start the node again"
        )
        self._finished.set()

    def _on_mapped(self, mapped: Mapped | None, reason: str) -> None:
        logger.debug("Port mapping: %s", reason)
        endpoint = mapped.external if mapped is not None and mapped.public else None
        self._node.background.set_mapped(endpoint, clock.now())
        self._dataplane.wake()

    async def _look_around(self, *, slept: bool = False) -> None:
        """See whether the network is another one now, and tell everyone."""
        network = await look_around(self._interface.index)
        if not slept and network == self._network:
            return
        logger.info("The network changed")
        self._network = network
        now = clock.now()
        self._node.set_hosts(network.addresses, now, network.networks)
        self._node.network_changed(now)
        if self._mapper is not None:
            self._mapper.network_changed()
        self._dataplane.wake()

    async def _watch_sleep(self) -> None:
        """Notice that the machine was asleep: its clocks then drifted apart."""
        while True:
            await asyncio.sleep(SLEEP_CHECK)
            drift = _drift()
            if drift - self._drift > SLEPT:
                logger.info("The machine was asleep")
                self._run(self._look_around(slept=True))
            self._drift = drift

    def _run(self, work: Coroutine[None, None, None]) -> None:
        """Let something go on that a callback cannot wait for."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Something failed that should not: %s", error, exc_info=error)

    # The system.

    async def _configure(
        self, addresses: tuple[str, ...], routes: tuple[str, ...]
    ) -> None:
        registered = self._client.registered
        networks = registered.networks if registered is not None else ()
        taken = self._network.overlapping(networks)
        if taken is not None:
            logger.warning(
                "The mesh's network %s is also used by another interface: give the "
                "coordinator another one with --network4 or --network6",
                taken,
            )
        self._tun.local_addresses = {_packed(address) for address in addresses}
        try:
            await self._interface.configure(addresses, routes)
        except ConfigError as error:
            logger.error("%s", error)

    def _use_servers(self, servers: Any, relays: Any) -> None:
        self._node.background.set_servers(servers, relays, clock.now())
        self._dataplane.wake()

    def _open_links(self, request: int, family: int, count: int) -> None:
        """Open sockets at random ports for a discovery or a birthday punch."""
        ports: dict[int, int] = {}
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        for _ in range(count):
            link = self._free_link()
            try:
                sock = UdpSocket.open(kind, link=link, on_unpinned=self._on_unpinned)
            except OSError as error:
                logger.debug("No more sockets: %s", error)
                break
            sock.refused_interface = self._interface.index
            self._links[link] = sock
            self._dataplane.add_link(link, sock)
            ports[link] = sock.port
        self._node.sockets_opened(request, ports, clock.now())

    def _free_link(self) -> int:
        """Return a number for an auxiliary socket; relays' numbers lie above."""
        while True:
            self._next_link = self._next_link % 0xFFFF + 1
            if self._next_link not in self._links:
                return self._next_link

    def _open_stream(self, link: int, server: Any) -> None:
        stream = RelayStream(
            server,
            on_open=lambda: self._on_stream_opened(link),
            on_data=lambda data: self._on_stream_data(link, data),
            on_close=lambda reason: self._on_stream_closed(link, reason),
        )
        self._links[link] = stream
        self._dataplane.add_link(link, stream)

    def _on_stream_opened(self, link: int) -> None:
        self._node.background.stream_opened(link, clock.now())
        self._dataplane.turn()

    def _on_stream_data(self, link: int, data: bytes) -> None:
        self._node.receive_stream(link, data, clock.now())
        self._dataplane.turn()

    def _on_stream_closed(self, link: int, reason: str) -> None:
        self._close_link(link)
        self._node.background.stream_closed(link, reason, clock.now())
        self._dataplane.wake()

    def _close_link(self, number: int) -> None:
        self._dataplane.remove_link(number)
        link = self._links.pop(number, None)
        if link is not None:
            link.close()

    # Files.

    def _cached_netmap(self) -> Any:
        cache = self._state.netmap()
        if cache is None:
            return None
        try:
            return load_cache(cache)
        except MeshError as error:
            logger.warning("%s", error)
            return None


def _membership(config: NodeConfig, state: StateDirectory) -> Membership:
    """Return which mesh to be in: that of the token, or the one from before.

    :raises NotJoined: if there is neither.
    """
    known = state.membership()
    if config.join is None:
        if known is None:
            raise NotJoined(
                "This node belongs to no mesh yet: get a token with "
                "'meshwg-coordinator token create' and run 'meshwg node --join TOKEN'"
            )
        return known
    token = JoinToken.parse(config.join)
    another = known is not None and known.coordinator_key != token.coordinator_key
    if known is not None and another and _was_accepted(known, state):
        raise ConfigError(
            "This node already belongs to another mesh: use another --state-dir, or "
            f"remove the files in {config.state_dir} to leave that mesh"
        )
    membership = Membership(token.url, token.coordinator_key, str(token.auth_key))
    state.save_membership(membership)
    return membership


def _was_accepted(membership: Membership, state: StateDirectory) -> bool:
    """Tell whether a coordinator has let this node in, or only been asked to."""
    return membership.auth_key is None or state.netmap() is not None


def _open_sockets(
    port: int, last_port: int, on_unpinned: Callable[[Endpoint], None]
) -> UdpSockets:
    """Open the node's sockets; where any port will do, those of the last run."""
    if port == 0 and last_port != 0:
        with contextlib.suppress(OSError):
            return UdpSockets.open(last_port, on_unpinned=on_unpinned)
    try:
        return UdpSockets.open(port, on_unpinned=on_unpinned)
    except OSError as error:
        raise ConfigError(
            f"UDP port {port} cannot be used ({error.strerror}): choose another "
            "--listen-port, or 0 for any"
        ) from None


def _log_path(name: str, change: path_events.SelectionChanged) -> None:
    if change.kind is None:
        logger.debug("%s: no path", name)
    else:
        logger.info("%s: path %s %s", name, change.kind.value, change.endpoint)


def _shortened(names: Sequence[str]) -> str:
    """Return names for an error message, which a large mesh must not flood."""
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _packed(address: str) -> bytes:
    """Return an address with prefix length in network order, without the latter."""
    host = address.partition("/")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host)


def _drift() -> float:
    """Return how much longer the machine has existed than been awake, in seconds."""
    return clock.now() - asyncio.get_running_loop().time()
