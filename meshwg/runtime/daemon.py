"""``meshwg node``: the process around one node.

It answers commands at the control socket, tells the service manager how it is doing,
and ends on a signal, on ``meshwg down``, or when the node cannot go on.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from meshwg import __version__
from meshwg.config import NodeConfig
from meshwg.control.client import ControlClient, Membership
from meshwg.errors import ConfigError, CoordinatorError, MeshError, NotJoined
from meshwg.keys import PrivateKey
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
from meshwg.relay.server import RelayServer
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
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.runtime.stream import RelayStream
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.status import status
from meshwg.transmit import Endpoint
from meshwg.wire.control import Cache, load_cache
from meshwg.wire.token import JoinToken

logger = logging.getLogger(__name__)


class TaskSet:
    """The tasks of one owner, who ends them with itself."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a task; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def cancel(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks:
            task.cancel()

    async def wait(self) -> None:
        """Wait until no task is left, those included that start meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Something failed that should not: %s", error, exc_info=error)


class MembershipRecord:
    """A node's membership and cached netmap, and the files they are kept in.

    :raises NotJoined: if there is neither a token nor a stored membership.
    :raises ConfigError: if the token is another mesh's, or what is stored is damaged.
    """

    def __init__(self, config: NodeConfig, state: StateDirectory) -> None:
        self.stored = choose_membership(config, state)
        self._state = state
        self._saver: NetmapSaver | None = None
        self._is_void = False

    def cached_netmap(self) -> Cache | None:
        """Return the netmap of the last run, if there is one that can be read."""
        cache = self._state.netmap()
        if cache is None:
            return None
        try:
            return load_cache(cache)
        except MeshError as error:
            logger.warning("%s", error)
            return None

    def save_netmap_from(self, netmap: Callable[[], bytes | None]) -> None:
        """Save what this function returns, from now on, whenever it has changed."""
        self._saver = NetmapSaver(self._state, netmap)

    def netmap_changed(self) -> None:
        """The netmap is worth saving again."""
        if self._saver is not None:
            self._saver.change()

    def accepted(self) -> None:
        """The coordinator has let the node in: its auth key is not needed any more."""
        if self.stored.auth_key is None:
            return
        self.stored = StoredMembership(self.stored.url, self.stored.coordinator_key)
        try:
            self._state.save_membership(self.stored)
        except MeshError as error:
            logger.error("%s", error)

    def expelled(self) -> None:
        """The node is no member any more: forget the netmap in the end."""
        self._is_void = True

    async def close(self) -> None:
        """Save what is not saved yet, or forget it all after an expulsion."""
        if self._saver is not None:
            await self._saver.close()
        if self._is_void:
            self._state.forget_netmap()


def choose_membership(config: NodeConfig, state: StateDirectory) -> StoredMembership:
    """Return which mesh to be in: that of the token, or the one from before.

    :raises NotJoined: if there is neither.
    :raises ConfigError: if the node is a member of another mesh than the token's.
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
    membership = StoredMembership(token.url, token.coordinator_key, str(token.auth_key))
    state.save_membership(membership)
    return membership


def _was_accepted(membership: StoredMembership, state: StateDirectory) -> bool:
    """Tell whether a coordinator has let this node in, or only been asked to."""
    return membership.auth_key is None or state.netmap() is not None


SLEEP_CHECK = 5.0
"""Seconds between two looks whether the machine was asleep."""
SLEPT = 2.0
"""Seconds that the clocks must have drifted apart for that."""


class Surroundings:
    """Keeps watch on the network around a node.

    :param on_change: called when the network has changed or the machine has slept.
    :param except_interface: index of the node's own interface, which does not count.
    """

    def __init__(
        self, on_change: Callable[[Network], None], *, except_interface: int
    ) -> None:
        self.network = Network((), (), ())
        """As it was at the last look."""
        self._on_change = on_change
        self._except = except_interface
        self._drift = _drift()
        self._watcher: NetworkWatcher | None = None
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Look around, and from now on report what changes."""
        self._watcher = NetworkWatcher(
            lambda: self._look_again(slept=False), except_interface=self._except
        )
        self.network = await look_around(self._except)
        self._tasks.run(self._watch_sleep())

    def close(self) -> None:
        """Watch no longer."""
        if self._watcher is not None:
            self._watcher.close()
        self._tasks.cancel()

    def _look_again(self, *, slept: bool) -> None:
        self._tasks.run(self._look_around(slept=slept))

    async def _look_around(self, *, slept: bool) -> None:
        """See whether the network is another one now, and report it."""
        network = await look_around(self._except)
        if slept or network != self.network:
            logger.info("The network changed")
            self.network = network
            self._on_change(network)

    async def _watch_sleep(self) -> None:
        """Notice that the machine was asleep: its clocks then drifted apart."""
        while True:
            await asyncio.sleep(SLEEP_CHECK)
            drift = _drift()
            if drift - self._drift > SLEPT:
                logger.info("The machine was asleep")
                self._look_again(slept=True)
            self._drift = drift


def _drift() -> float:
    """Return how much longer the machine has existed than been awake, in seconds."""
    return clock.now() - asyncio.get_running_loop().time()


class Addressing:
    """The configuration of one interface; what does not work out is logged."""

    def __init__(self, tun: TunDevice, interface: MeshInterface) -> None:
        self._tun = tun
        self._interface = interface
        self._hidden: set[str] = set()
        self._tasks = TaskSet()

    def change(
        self, wanted: InterfaceChanged, mesh: Iterable[str], network: Network
    ) -> None:
        """Begin to configure the interface.

        :param mesh: the networks of the mesh.
        :param network: that the machine is in.
        """
        self._warn_of_hidden(wanted.hidden)
        taken = network.overlapping(mesh)
        if taken is not None:
            logger.warning(
                "The mesh's network %s is also used by another interface: give the "
                "coordinator another one with --network4 or --network6",
                taken,
            )
        self._tasks.run(self._configure(wanted.addresses, wanted.routes))

    def close(self) -> None:
        """Configure no longer."""
        self._tasks.cancel()

    def _warn_of_hidden(self, networks: tuple[str, ...]) -> None:
        for network in sorted({*networks} - self._hidden):
            logger.warning(
                "The route to %s is not used: this machine is in such a network itself",
                network,
            )
        self._hidden = {*networks}

    async def _configure(
        self, addresses: tuple[str, ...], routes: tuple[str, ...]
    ) -> None:
        self._tun.local_addresses = {_packed(address) for address in addresses}
        try:
            await self._interface.configure(addresses, routes)
        except ConfigError as error:
            logger.error("%s", error)


def _packed(address: str) -> bytes:
    """Return an address with prefix length in network order, without the latter."""
    host = address.partition("/")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host)


MAX_LINK = 0xFFFF
"""The highest number of an auxiliary socket; relays' numbers lie above."""

LinkEvent = SocketsWanted | SocketsClosed | OpenStream | CloseStream


class WaysOut:
    """A node's auxiliary sockets and streams, by link number.

    :param on_unpinned: of the sockets (:class:`~meshwg.runtime.udp.UdpSocket`).
    :param refused_interface: of the sockets, too: the index of the node's interface.
    """

    def __init__(
        self,
        node: Node,
        dataplane: Dataplane,
        *,
        on_unpinned: Callable[[Endpoint], None],
        refused_interface: int,
    ) -> None:
        self._node = node
        self._dataplane = dataplane
        self._on_unpinned = on_unpinned
        self._refused_interface = refused_interface
        self._links: dict[int, UdpSocket | RelayStream] = {}
        self._last_link = 0

    def carry_out(self, event: LinkEvent) -> None:
        """Open or close what the node says."""
        match event:
            case SocketsWanted(request, family, count):
                self._open_sockets(request, family, count)
            case SocketsClosed(links):
                for link in links:
                    self._close(link)
            case OpenStream(link, server):
                self._open_stream(link, server)
            case CloseStream(link):
                self._close(link)

    def get(self, number: int) -> UdpSocket | RelayStream | None:
        """Return what has a link number, if there is anything."""
        return self._links.get(number)

    def close(self) -> None:
        """Close everything, once the data plane has stopped."""
        for link in self._links.values():
            link.close()

    def _open_sockets(self, request: int, family: int, count: int) -> None:
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
            sock.refused_interface = self._refused_interface
            self._links[link] = sock
            self._dataplane.add_link(link, sock)
            ports[link] = sock.port
        self._node.sockets_opened(request, ports, clock.now())

    def _free_link(self) -> int:
        while True:
            self._last_link = self._last_link % MAX_LINK + 1
            if self._last_link not in self._links:
                return self._last_link

    def _open_stream(self, link: int, server: RelayServer) -> None:
        stream = RelayStream(
            server,
            on_open=lambda: self._on_stream_opened(link),
            on_data=lambda data: self._on_stream_data(link, data),
            on_close=lambda reason: self._on_stream_closed(link, reason),
        )
        self._links[link] = stream
        self._dataplane.add_link(link, stream)

    def _on_stream_opened(self, link: int) -> None:
        self._node.stream_opened(link, clock.now())
        self._dataplane.turn()

    def _on_stream_data(self, link: int, data: bytes) -> None:
        self._node.receive_stream(link, data, clock.now())
        self._dataplane.turn()

    def _on_stream_closed(self, link: int, reason: str) -> None:
        self._close(link)
        self._node.stream_closed(link, reason, clock.now())
        self._dataplane.wake()

    def _close(self, number: int) -> None:
        self._dataplane.remove_link(number)
        link = self._links.pop(number, None)
        if link is not None:
            link.close()


class Host:
    """A node and everything it owns in this system.

    It lives in a :class:`~meshwg.runtime.packetloop.PacketLoop`. It is a context
    manager, too: started in the beginning and closed in the end.

    :param state: stays open when the host is closed.
    :param mtu: of the interface, in bytes.
    :raises MeshError: if the node belongs to no mesh, or the interface or the sockets
        cannot be made; nothing is left of them then.
    """

    def __init__(self, config: NodeConfig, state: StateDirectory, mtu: int) -> None:
        self.name = config.name or socket.gethostname()
        self.mtu = mtu
        self.finished = asyncio.Event()
        """Set when the node cannot go on, or was told to stop."""
        self.failure: MeshError | None = None
        """Why it cannot go on."""
        self.echo_listeners: dict[int, Callable[[int], None]] = {}
        """Who gets the sequence numbers of echo replies, by their identifier."""
        self._config = config
        self._state = state
        self._membership = MembershipRecord(config, state)
        self._looked: asyncio.Event | None = None
        self._undo = contextlib.AsyncExitStack()
        self._open(state.private_key(os.urandom))

    def _open(self, private_key: PrivateKey) -> None:
        """Make the interface and the sockets, and the node with what serves it."""
        client = self._make_client(private_key)
        with contextlib.ExitStack() as undo:
            self._tun = TunDevice.open(self._config.interface, self.mtu)
            undo.callback(self._tun.close)
            self._interface = MeshInterface(self._tun.name)
            self._sockets = _open_sockets(
                self._config.listen_port, self._state.last_port(), self._on_unpinned
            )
            undo.callback(self._sockets.close)
            for sock in self._sockets:
                sock.refused_interface = self._interface.index
            self.node = self._make_node(private_key, client)
            self._state.save_port(self._sockets.port)
            self._make_servants(client)
            undo.pop_all()
        self._undo.push_async_callback(self._give_back)

    def _make_client(self, private_key: PrivateKey) -> ControlClient:
        stored, config = self._membership.stored, self._config
        membership = Membership(
            private_key,
            stored.coordinator_key,
            self.name,
            auth_key=stored.auth_key,
            role=config.role,
            routes=config.routes,
            software=f"meshwg {__version__}",
        )
        return ControlClient(
            membership,
            now=clock.now(),
            random=os.urandom,
            cache=self._membership.cached_netmap(),
        )

    def _make_node(self, private_key: PrivateKey, client: ControlClient) -> Node:
        node = Node(
            private_key,
            client,
            random=os.urandom,
            unix_time=clock.unix_time,
            listen_port=self._sockets.port,
            now=clock.now(),
            birthday=self._config.birthday,
        )
        node.device.mtu = self.mtu
        return node

    def _make_servants(self, client: ControlClient) -> None:
        """Make what carries for the node and looks things up for it."""
        self._dataplane = Dataplane(
            self.node, self._tun, on_tun_gone=self._on_tun_gone, on_turn=self._on_turn
        )
        self._control = ControlLink(
            client, self.coordinator_url, self._on_control_activity
        )
        self._ways_out = WaysOut(
            self.node,
            self._dataplane,
            on_unpinned=self._on_unpinned,
            refused_interface=self._interface.index,
        )
        self._addressing = Addressing(self._tun, self._interface)
        self._surroundings = Surroundings(
            self._on_network, except_interface=self._interface.index
        )
        self._resolver = Resolver(self._use_servers)
        self._mapper: PortMapper | None = None
        if self._config.port_mapping:
            self._mapper = PortMapper(self._on_mapped)
        self._membership.save_netmap_from(client.cache)

    @property
    def interface(self) -> str:
        """The interface's name."""
        return self._tun.name

    @property
    def port(self) -> int:
        """The UDP port of the node's own sockets."""
        return self._sockets.port

    @property
    def coordinator_url(self) -> str:
        """Where the coordinator is."""
        return self._membership.stored.url

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Bring the interface up and begin to carry.

        :raises MeshError: if the system refuses something; then close the host.
        """
        forwarding = Forwarding(self._tun.name, self._state)
        await forwarding.recover()
        if self._config.role == "hub":
            self._undo.push_async_callback(forwarding.disable)
            await forwarding.enable()
        await self._interface.up(self.mtu)
        self._undo.callback(self._surroundings.close)
        await self._surroundings.start()
        network = self._surroundings.network
        self.node.set_hosts(network.addresses, clock.now(), network.networks)
        self._dataplane.start(self._sockets)
        if self._mapper is not None:
            self._mapper.start(self._sockets.port)

    async def close(self) -> None:
        """Take leave, and give everything back to the system."""
        self.finished.set()
        await self._undo.aclose()

    def stop(self) -> None:
        """Ask whoever waits for :attr:`finished` to close the host."""
        self.finished.set()

    def turn(self) -> None:
        """Carry out what the node was told to do."""
        self._dataplane.turn()

    async def look_again(self, limit: float) -> None:
        """Have the node find out anew what NAT there is, and wait for that.

        :param limit: seconds to wait at most.
        """
        self.node.look_again(clock.now())
        looked = self._looked = asyncio.Event()
        self.turn()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await looked.wait()

    async def _give_back(self) -> None:
        self.node.stop(clock.now())
        for transmit in self.node.datagrams_to_send():
            link = self._ways_out.get(transmit.destination.link)
            (link or self._sockets).send(transmit)
        await self._control.close()
        if self._mapper is not None:
            await self._mapper.stop()
        self._dataplane.stop()
        self._ways_out.close()
        self._resolver.close()
        self._addressing.close()
        self._sockets.close()
        self._tun.close()
        await self._membership.close()

    # What the node wants done.

    def _on_turn(self, now: float) -> None:
        while (event := self.node.next_event()) is not None:
            self._carry_out(event)
        if self._looked is not None and not self.node.whereabouts.is_looking:
            self._looked.set()
            self._looked = None
        if not self.finished.is_set():
            # At the end, what is left to say goes out first: see _give_back.
            self._control.update()

    def _carry_out(self, event: NodeEvent) -> None:
        match event:
            case InterfaceChanged():
                registered = self.node.control.registered
                mesh = registered.networks if registered is not None else ()
                self._addressing.change(event, mesh, self._surroundings.network)
            case ServersChanged(stun, relays):
                self._resolver.resolve(stun, relays)
            case EchoReceived(identifier, sequence):
                if identifier in self.echo_listeners:
                    self.echo_listeners[identifier](sequence)
            case NetmapChanged():
                self._membership.netmap_changed()
            case Joined(notice):
                self._on_joined(notice)
            case Expelled():
                self._on_expelled(event)
            case PathChanged(peer, change):
                _log_path(peer.entry.name, change)
            case _:
                self._ways_out.carry_out(event)

    def _on_joined(self, notice: str) -> None:
        logger.info("Connected to the coordinator %s", self.coordinator_url)
        if notice:
            logger.warning("%s", notice)
        self._membership.accepted()

    def _on_expelled(self, event: Expelled) -> None:
        if event.forget:
            self._membership.expelled()
        self._fail(CoordinatorError(f"{event.reason.rstrip('.')}."))

    # What the node has to know.

    def _on_control_activity(self) -> None:
        self.node.control_changed(clock.now())
        self._dataplane.wake()

    def _on_unpinned(self, endpoint: Endpoint) -> None:
        self.node.endpoint_failed(endpoint, clock.now())

    def _on_tun_gone(self) -> None:
        self._fail(
            MeshError(
                f"The interface {self._tun.name} was removed: start the node again"
            )
        )

    def _on_mapped(self, mapped: Mapped | None, reason: str) -> None:
        logger.debug("Port mapping: %s", reason)
        endpoint = mapped.external if mapped is not None and mapped.public else None
        self.node.set_mapped(endpoint, clock.now())
        self._dataplane.wake()

    def _on_network(self, network: Network) -> None:
        now = clock.now()
        self.node.set_hosts(network.addresses, now, network.networks)
        self.node.network_changed(now)
        if self._mapper is not None:
            self._mapper.network_changed()
        self._dataplane.wake()

    def _use_servers(
        self, servers: Sequence[Endpoint], relays: Sequence[RelayServer]
    ) -> None:
        self.node.set_servers(servers, relays, clock.now())
        self._dataplane.wake()

    def _fail(self, error: MeshError) -> None:
        self.failure = error
        self.finished.set()


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


def _log_path(name: str, change: path_events.PathChanged) -> None:
    if change.kind is None:
        logger.debug("%s: no path", name)
    else:
        logger.info("%s: path %s %s", name, change.kind.value, change.endpoint)


NETCHECK_LIMIT = 5.0
MAX_PINGERS = 64
NAMES_SHOWN = 20


class NodeCommands:
    """Answers commands for one host.

    :param shut_down: called when the node is to end.
    """

    def __init__(self, host: Host, shut_down: Callable[[], None]) -> None:
        self._host = host
        self._shut_down = shut_down

    def status(self) -> dict[str, Any]:
        """Return ``meshwg status --json``."""
        host, now = self._host, clock.now()
        return status(
            host.node,
            name=host.name,
            interface=host.interface,
            mtu=host.mtu,
            coordinator_url=host.coordinator_url,
            now=now,
            unix_time=clock.unix_time(now),
        )

    async def netcheck(self, request: dict[str, Any]) -> dict[str, Any]:
        """Look at the network anew; return ``meshwg netcheck --json``."""
        limit = min(float(request.get("timeout") or NETCHECK_LIMIT), NETCHECK_LIMIT)
        whereabouts = self._host.node.whereabouts
        mapping = asyncio.create_task(probe_port_mapping(limit))
        await self._host.look_again(limit)
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
        host = self._host
        peer = self._find_peer(request)
        if len(host.echo_listeners) >= MAX_PINGERS:
            raise MeshError("Too many pings at a time: wait until others have ended")
        identifier = int.from_bytes(os.urandom(2))
        while identifier in host.echo_listeners:
            identifier = int.from_bytes(os.urandom(2))
        pinger = Pinger(host.node, peer, identifier, host.turn)
        host.echo_listeners[identifier] = pinger.receive
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
            del host.echo_listeners[identifier]

    def shut_down(self) -> None:
        """Stop the node cleanly."""
        self._shut_down()

    def _find_peer(self, request: dict[str, Any]) -> MeshPeer:
        node = self._host.node
        if node.control.registered is None:
            raise NotJoined(
                "This node has not joined a mesh yet: see 'meshwg status' for why"
            )
        name = request.get("peer") or ""
        peer = node.find(name)
        if peer is None:
            known = sorted(peer.entry.name for peer in node.peers.values())
            raise MeshError(
                f"There is no peer '{name}': use one of {_shortened(known) or 'none'}"
            )
        return peer


def _shortened(names: Sequence[str]) -> str:
    """Return names for an error message, which a large mesh must not flood."""
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


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
    """A process that is there for one node."""

    def __init__(self, config: NodeConfig, state: StateDirectory, mtu: int) -> None:
        self._host = Host(config, state, mtu)
        self._admin = AdminServer(
            NodeCommands(self._host, self._host.stop), config.control_socket
        )

    async def run(self) -> None:
        """Serve until the node has ended.

        :raises MeshError: why it ended, if not because it was told to.
        """
        host = self._host
        async with contextlib.AsyncExitStack() as undo:
            # The socket is the last to go: 'meshwg down' waits for that.
            undo.push_async_callback(self._admin.close)
            undo.push_async_callback(host.close)
            await self._admin.start()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, host.stop)
            await host.start()
            logger.info(
                "Node %s is up: interface %s, UDP port %d",
                host.name,
                host.interface,
                host.port,
            )
            systemd.notify("READY=1", "STATUS=Running")
            await host.finished.wait()
            systemd.notify("STOPPING=1")
        if host.failure is not None:
            raise host.failure
