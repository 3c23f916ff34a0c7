"""A node with its sockets, timers, files and interface, in any process.

The host decides nothing. It carries bytes between the node and the system, and does
what the node's events ask for.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

from meshwg.config import NodeConfig
from meshwg.control.client import ControlClient, ControlState
from meshwg.errors import MeshError, NotJoined
from meshwg.keys import PrivateKey
from meshwg.nat.gateway import Mapped, MappedProtocol
from meshwg.node import (
    CoordinatorKeyChanged,
    CoordinatorsMoved,
    EchoReceived,
    ExitChanged,
    Expelled,
    InterfaceChanged,
    Joined,
    LeaseAnswered,
    NetmapChanged,
    Node,
    NodeEvent,
    PathChanged,
    PeerHeld,
    RouteTaken,
    ServersChanged,
    TrustChanged,
)
from meshwg.node.trust import Trust
from meshwg.proxies import Proxies
from meshwg.relay.pool import CredentialsUsed
from meshwg.relay.server import RelayServer
from meshwg.relay.transactions import TurnCredentials
from meshwg.runtime import clock
from meshwg.runtime.access import set_up_access
from meshwg.runtime.addressing import Addressing
from meshwg.runtime.control import ControlLink
from meshwg.runtime.coordinator_news import CoordinatorNews
from meshwg.runtime.core import make_datapath
from meshwg.runtime.core_dataplane import make_dataplane
from meshwg.runtime.default_gateway import find_gateway
from meshwg.runtime.event_log import log_event
from meshwg.runtime.exits import ExitClient
from meshwg.runtime.exitside import ExitSide
from meshwg.runtime.held_routes import HeldRoutes
from meshwg.runtime.host_network import HostNetwork
from meshwg.runtime.interface import MeshInterface
from meshwg.runtime.leasedesk import LeaseDesk
from meshwg.runtime.membership import ClusterMember, MembershipRecord, identity
from meshwg.runtime.offered_routes import OfferedRoutes, announced, traits_of
from meshwg.runtime.portmap import PortMapper
from meshwg.runtime.resolver import Resolver
from meshwg.runtime.routes import watch_routes
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.subnet_router import SubnetRouter
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.surroundings import Network
from meshwg.runtime.tasks import TaskSet
from meshwg.runtime.tcp import TcpPort
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.udp import open_sockets
from meshwg.runtime.ways_out import WaysOut
from meshwg.transmit import Endpoint
from meshwg.wire.token import JoinToken

if TYPE_CHECKING:
    from meshwg.runtime.dns.service import MeshNames

logger = logging.getLogger(__name__)


class NodeHost:
    """A node and everything it owns in this system.

    It has a :class:`~meshwg.runtime.packetloop.PacketLoop` for itself, in any thread,
    and changes nothing of the process: there can be several, each with an interface and
    a state directory of its own. It is also a context manager, which starts and closes
    it.

    :param state: stays open when the host is closed.
    :param mtu: of the interface, in bytes.
    :param cluster: what is particular to a node of a cluster, if it is one.
    :raises MeshError: if the node belongs to no mesh, or the interface or the sockets
        cannot be made; nothing is left of them then.
    """

    def __init__(
        self,
        config: NodeConfig,
        state: StateDirectory,
        mtu: int,
        cluster: ClusterMember | None = None,
    ) -> None:
        self.name = config.name or socket.gethostname()
        self.mtu = mtu
        self.finished = asyncio.Event()
        """Set when the node cannot go on, or was told to stop."""
        self.leaves = False
        """Whether it gives up its membership when it is closed."""
        self.failure: MeshError | None = None
        """Why it cannot go on."""
        self.echo_listeners: dict[int, Callable[[int], None]] = {}
        """What gets the sequence numbers of echo replies, by identifier."""
        self.names: MeshNames | None = None
        """The mesh's names in this machine, if it has them."""
        self._config = config
        self._cluster = cluster
        self._state = state
        self._membership = MembershipRecord(config, state)
        self._proxies = _read_proxies()
        self.routes = OfferedRoutes(config.routes, state)
        """The networks behind this node, which may change while it runs."""
        self._pins = state.pins()
        self._saving = TaskSet()
        self._saves = asyncio.Lock()
        self._told_who = ""
        self._looked: asyncio.Event | None = None
        """Set once it is known what NAT there is, if somebody waits for that."""
        self._accepted = asyncio.Event()
        """Set when the coordinator has accepted this node."""
        self._surprises = Surprises(logger)
        self._undo = contextlib.AsyncExitStack()
        self._open(state.private_key(os.urandom))

    def _open(self, private_key: PrivateKey) -> None:
        """Make the interface and the sockets, and the node with what serves it."""
        client = self._make_client(private_key)
        self.leases = LeaseDesk(client, self.turn)
        with contextlib.ExitStack() as undo:
            self._tun = TunDevice.open(self._config.interface, self.mtu)
            undo.callback(self._tun.close)
            self._interface = MeshInterface(self._tun.name, self.mtu)
            undo.callback(self._interface.close)
            self._sockets = open_sockets(
                self._config.listen_port,
                self._state.last_port(),
                self._interface.fwmark,
                self._on_unpinned,
            )
            undo.callback(self._sockets.close)
            self._tcp = None
            if self._config.tcp:
                self._tcp = TcpPort.open(self._sockets.port, self._interface.fwmark)
            if self._tcp is not None:
                undo.callback(self._tcp.close)
            for sock in self._sockets:
                sock.refuses = self._tun.has_index
            self._datapath = make_datapath(roaming=False)
            self.node = self._make_node(private_key, client)
            self._state.save_port(self._sockets.port)
            self._make_parts(client)
            undo.pop_all()
        self._undo.push_async_callback(self._give_back)

    def _make_client(self, private_key: PrivateKey) -> ControlClient:
        stored, routes = self._membership.stored, self.routes.current
        own = identity(self._config, stored, private_key, routes, self._cluster)
        return ControlClient(
            own,
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
            tcp_port=None if self._tcp is None else self._tcp.port,
            trust=Trust(self._pins),
            datapath=self._datapath,
            proves_routes=self._cluster is not None,
        )
        set_up_access(node.access, self._config, self._membership, clock.now())
        node.device.mtu = self.mtu
        node.relays.remember(self._state.relay_credentials())
        node.members.set_apart(self._interface.is_apart)
        node.members.has_ipv6 = self._interface.has_ipv6()
        return node

    def _make_parts(self, client: ControlClient) -> None:
        """Make what carries for the node, watches for it and looks things up."""
        self._dataplane = make_dataplane(
            self.node,
            self._datapath,
            self._tun,
            on_tun_gone=self._on_tun_gone,
            on_turn=self._on_turn,
        )
        self._make_control(client)
        self._ways_out = WaysOut(
            self.node,
            self._dataplane,
            on_unpinned=self._on_unpinned,
            refuses=self._tun.has_index,
            tcp=self._tcp,
            fwmark=self._interface.fwmark,
            proxies=self._proxies,
        )
        self._addressing = Addressing(
            self._tun,
            self._interface,
            self.node.health,
            self._on_ipv6,
            self._state.is_news,
        )
        self.exits = ExitClient(
            self.node, self._interface, self._state, self._settle_interface
        )
        self._exit_side = ExitSide(self._tun.name, self.node.health)
        self.held_routes = HeldRoutes(self.routes, self.offer_routes)
        self._router = SubnetRouter(
            self.node,
            self._tun.name,
            self._state,
            self.turn,
            lambda: self.routes.lasting,
            mtu=self.mtu,
            may_be_hub=self._config.role == "hub",
            may_be_exit=self._config.exit,
            fwmark=self._interface.fwmark,
        )
        self._host_network = HostNetwork(
            self._on_network,
            self._addressing.look,
            except_interface=self._interface.index,
        )
        self._resolver = Resolver(self._use_servers, self._proxies)
        self._mapper: PortMapper | None = None
        if self._config.port_mapping:
            self._mapper = PortMapper(
                self._on_mapped, find=partial(find_gateway, fwmark=self.fwmark)
            )
        self._tcp_mapper: PortMapper | None = None
        self._membership.save_from(client.briefing.cache, self.node.trust.parts)

    def _make_control(self, client: ControlClient) -> None:
        """Make what carries between the node and its coordinator."""
        url, fwmark = self.coordinator_url, self._interface.fwmark
        self._control = ControlLink(
            client, url, self._on_control_activity, fwmark, self._proxies
        )
        self._news = CoordinatorNews(client, self.node.health, url)

    @property
    def interface(self) -> str:
        """The interface's name."""
        return self._tun.name

    @property
    def port(self) -> int:
        """The UDP port of the node's own sockets."""
        return self._sockets.port

    @property
    def fwmark(self) -> int:
        """The mark of the packets of the underlay, 0 for none."""
        return self._interface.fwmark

    @property
    def coordinator_url(self) -> str:
        """Where the coordinator is that this node is connected to, or asks next."""
        return self.node.control.coordinators.current or self._membership.stored.url

    @property
    def is_member(self) -> bool:
        """Whether the coordinator has let this node in, now or in an earlier run."""
        return self.node.control.registered is not None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bring the interface up and begin to carry.

        :raises MeshError: if the system refuses something; then close the host.
        """
        self._undo.push_async_callback(self.exits.close)
        self._undo.callback(self.held_routes.close)
        await self.exits.start()
        self._undo.push_async_callback(self._exit_side.close)
        self._undo.push_async_callback(self._router.close)
        await self._router.start()
        await asyncio.to_thread(self._interface.settle)
        self._undo.callback(self._host_network.close)
        await self._host_network.start()
        self._set_hosts(self._host_network.current, clock.now())
        self._dataplane.start(self._sockets)
        self._undo.callback(watch_routes(self._dataplane.follow_routes).close)
        self._ways_out.start()
        if self._mapper is not None:
            self._mapper.start(self._sockets.port)
        await self._start_names()

    async def _start_names(self) -> None:
        """Have programs here find names of the mesh, or at least leave none behind."""
        if self._config.dns:
            # A node that leaves names alone has no use for any of it.
            from meshwg.runtime.dns.service import MeshNames

            interface = self._tun.name, self._interface.index
            url = self.coordinator_url
            names = MeshNames(self.node, self._config, self._state, interface, url)
            self._undo.push_async_callback(names.close)
            await names.start()
            self.names = names
        elif self._state.dns() is not None:
            from meshwg.runtime.dns.recovery import recover_names

            await recover_names(self._state)

    async def close(self) -> None:
        """Take leave, and give everything back to the system."""
        self.finished.set()
        await self._router.leave()
        await self._undo.aclose()

    def stop(self) -> None:
        """Ask whoever waits for :attr:`finished` to close the host."""
        self.finished.set()

    def leave(self) -> None:
        """Stop, and be a member no longer."""
        self.leaves = self.exits.frees = True
        self.stop()

    def turn(self) -> None:
        """Carry out what the node was told to do."""
        self._dataplane.turn()

    @property
    def mapped(self) -> Mapped | None:
        """The port that the router forwards to this node, if it does."""
        return None if self._mapper is None else self._mapper.mapped

    def look_again(self, *, at_once: bool) -> None:
        """Have the node find out anew what NAT there is.

        :param at_once: as if nothing were known.
        """
        self.node.background.look_again(clock.now(), at_once=at_once)
        self.turn()

    async def wait_until_looked(self, limit: float) -> None:
        """Wait until it is known what NAT there is.

        :param limit: seconds to wait at most.
        """
        if self.node.whereabouts.looked_at is not None:
            return
        if self._looked is None:
            self._looked = asyncio.Event()
        looked = self._looked
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await looked.wait()

    async def join(
        self, token: JoinToken, limit: float, *, new_key: bool = False
    ) -> None:
        """Join the node's mesh anew, if it is not a member that is connected.

        :param limit: seconds to wait for the coordinator.
        :param new_key: whether the coordinator may have another key than before.
        :raises ConfigError: if the token is another mesh's.
        :raises NotJoined: if nothing comes of it.
        """
        client = self.node.control
        if client.state is ControlState.CONNECTED:
            return
        self._membership.renew(token, new_key=new_key)
        self._accepted.clear()
        key = self._membership.stored.coordinator_key
        self.node.background.join(str(token.auth_key), key, clock.now())
        self.turn()
        try:
            async with asyncio.timeout(limit):
                await self._accepted.wait()
        except TimeoutError:
            why = client.error or "The coordinator does not answer"
            raise NotJoined(f"{why.rstrip('.')}: the node goes on trying") from None

    def offer_routes(self) -> None:
        """Tell the mesh which networks are behind this node now."""
        routes = self.routes.current
        self.node.background.offer_routes(
            announced(routes), traits_of(routes), clock.now()
        )
        self._router.refresh()
        self.turn()

    async def _give_back(self) -> None:
        self.node.stop(clock.now(), for_good=self.leaves)
        for transmit in self.node.datagrams_to_send():
            link = self._ways_out.get(transmit.destination.link)
            (link or self._sockets).send(transmit)
        await self._control.close()
        mappers = self._mappers()
        await asyncio.gather(*(mapper.stop() for mapper in mappers))
        self._dataplane.stop()
        self._ways_out.close()
        self._resolver.close()
        self._addressing.close()
        self._sockets.close()
        self._interface.close()
        self._tun.close()
        await self._saving.wait()
        await self._membership.close()

    # What the node wants done.

    def _on_turn(self) -> None:
        had_news = False
        while (event := self.node.next_event()) is not None:
            had_news = had_news or not isinstance(event, EchoReceived | PathChanged)
            try:
                self._carry_out(event)
            except Exception as error:
                # One that cannot be carried out holds up neither others nor packets.
                self._surprises.note(error)
        self._news.look(clock.now())
        if had_news and self._cluster is not None:
            asyncio.get_running_loop().call_soon(self._cluster.on_change)
        if self._looked is not None and self.node.whereabouts.looked_at is not None:
            self._looked.set()
            self._looked = None
        if not self.finished.is_set():
            # At the end, what is left to say goes out first: see _give_back.
            self._control.update()

    def _carry_out(self, event: NodeEvent) -> None:
        match event:
            case InterfaceChanged():
                self._addressing.change(event)
                self._exit_side.follow(event.is_exit)
                self._router.want(
                    event.networks,
                    event.announced,
                    is_hub=event.is_hub,
                    is_exit=event.is_exit,
                )
                self._names_changed()
            case LeaseAnswered(answer):
                self.leases.answered(answer)
            case ServersChanged(stun, relays):
                self._resolver.resolve(stun, relays)
            case EchoReceived(identifier, sequence):
                if identifier in self.echo_listeners:
                    self.echo_listeners[identifier](sequence)
            case CredentialsUsed(credentials):
                self._saving.run(self._save_credentials(credentials))
            case NetmapChanged():
                self._membership.netmap_changed()
                self._names_changed()
            case TrustChanged():
                self._membership.trust_changed()
                self._names_changed()
            case CoordinatorKeyChanged(key, former):
                self._membership.coordinator_key_changed(key, former)
                log_event(event)
            case CoordinatorsMoved(urls):
                self._membership.coordinators_changed(urls)
            case Joined(notice):
                self._on_joined(notice)
            case Expelled():
                self._on_expelled(event)
            case PeerHeld() | RouteTaken() | PathChanged() | ExitChanged():
                log_event(event)
            case _:
                self._ways_out.carry_out(event)

    def _names_changed(self) -> None:
        if self.names is not None:
            self.names.changed()

    async def _save_credentials(
        self, credentials: Iterable[tuple[str, TurnCredentials]]
    ) -> None:
        """Write them in a thread, after those before them: disks can be slow."""
        async with self._saves:
            await asyncio.to_thread(self._state.save_relay_credentials, credentials)

    def _on_joined(self, notice: str) -> None:
        self._news.look(clock.now())
        self._tell_who()
        if notice:
            logger.warning("%s", notice)
        self._membership.accepted()
        self._accepted.set()

    def _tell_who(self) -> None:
        """Say what this node is called in the mesh, unless that was said before."""
        registered = self.node.control.registered
        if registered is None:
            return
        who = f"This node is {registered.name}: {', '.join(registered.addresses)}"
        if who != self._told_who:
            self._told_who = who
            logger.info("%s", who)

    def _on_expelled(self, event: Expelled) -> None:
        if event.forget:
            self._membership.expelled()
        self._fail(self._membership.explain(event))

    # What the node has to know.

    def _on_control_activity(self) -> None:
        self.node.control_changed(clock.now())
        self.turn()

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
        self.node.background.set_mapped(endpoint, clock.now())
        if endpoint is not None:
            self._map_tcp()
        self.turn()

    def _map_tcp(self) -> None:
        """Map the TCP port, too: the router is one that maps ports."""
        if self._tcp is not None and self._tcp_mapper is None:
            self._tcp_mapper = PortMapper(
                self._on_tcp_mapped,
                find=partial(find_gateway, fwmark=self.fwmark),
                protocol=MappedProtocol.TCP,
            )
            self._tcp_mapper.start(self._tcp.port)

    def _on_tcp_mapped(self, mapped: Mapped | None, reason: str) -> None:
        logger.debug("Port mapping for TCP: %s", reason)
        endpoint = mapped.external if mapped is not None and mapped.public else None
        self.node.streaming.set_mapped(endpoint)

    def _mappers(self) -> list[PortMapper]:
        both = (self._mapper, self._tcp_mapper)
        return [mapper for mapper in both if mapper is not None]

    def _on_network(self, network: Network, is_elsewhere: bool) -> None:
        now = clock.now()
        self._set_hosts(network, now)
        self.exits.look()
        if is_elsewhere:
            self.node.network_changed(now)
            for mapper in self._mappers():
                mapper.network_changed()
            if self.names is not None:
                self.names.look()
        self.turn()

    def _set_hosts(self, network: Network, now: float) -> None:
        self.node.set_hosts(
            network.addresses, now, network.networks, dict(network.tunnels)
        )

    async def _settle_interface(self) -> None:
        """Have the interface as the node wants it by now."""
        self.turn()
        await self._addressing.settle()

    def _on_ipv6(self, has_ipv6: bool) -> None:
        if has_ipv6 != self.node.members.has_ipv6:
            self.node.background.set_ipv6(has_ipv6, clock.now())
            self._names_changed()
            self.turn()

    def _use_servers(
        self, servers: Sequence[Endpoint], relays: Sequence[RelayServer]
    ) -> None:
        self.node.background.set_servers(servers, relays, clock.now())
        self.turn()

    def _fail(self, error: MeshError) -> None:
        self.failure = error
        self.finished.set()


def _read_proxies() -> Proxies:
    """Return the proxies that the environment names, and say which cannot be used."""
    proxies = Proxies.read(os.environ)
    for problem in proxies.unusable:
        logger.warning("%s", problem)
    return proxies
