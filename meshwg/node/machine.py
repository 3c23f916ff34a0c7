"""The node: a WireGuard device, path agents, relays and a control client in one.

This module wires them together; each of them decides for itself.

=============================  ====================================================
:mod:`meshwg.node.traffic`     who gets a datagram, and where one goes
:mod:`meshwg.node.paths`       the path agents, and what they decide
:mod:`meshwg.node.streaming`   streams to peers
:mod:`meshwg.node.hubs`        who is reached through a hub
:mod:`meshwg.node.failover`    which router packets to a network go to
:mod:`meshwg.node.proving`     who has to prove a session before packets go there
:mod:`meshwg.node.ownroutes`   what this node says of the networks behind it
:mod:`meshwg.node.exits`       through whom the internet is reached
:mod:`meshwg.node.members`     who is in the mesh, and so what the interface has
:mod:`meshwg.node.access`      who may reach what
:mod:`meshwg.node.background`  the coordinator, the relays, where this node is
:mod:`meshwg.node.echoes`      this node's own echo requests
=============================  ====================================================

After every call in, also to one of these parts, drain :meth:`Node.datagrams_to_send`,
:meth:`Node.packets_to_write` and :meth:`Node.next_event`; call
:meth:`Node.handle_timer` when :meth:`Node.get_timer` says so.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from meshwg.control.client import ControlClient
from meshwg.health import Health
from meshwg.keys import PrivateKey, format_key
from meshwg.node.access import AccessControl
from meshwg.node.background import Background
from meshwg.node.echoes import Echoes
from meshwg.node.events import NodeEvent
from meshwg.node.exits import ChosenExit, Exits
from meshwg.node.failover import Failover
from meshwg.node.hubs import Diversions
from meshwg.node.members import Members
from meshwg.node.ownroutes import OwnRoutes
from meshwg.node.paths import Paths
from meshwg.node.proving import Proving
from meshwg.node.streaming import Streaming
from meshwg.node.streams import Streams
from meshwg.node.traffic import Traffic
from meshwg.node.trust import Trust
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.relay.pool import RelayPool
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.whereabouts import Whereabouts
from meshwg.wire.stun import Buffer
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.device import Device

NO_TUNNELS: Mapping[int, Sequence[str]] = MappingProxyType({})
SOUND_INTERVAL = 1.0
"""Seconds between two checks of all paths for the sake of echo requests."""


class Node:
    """A member of a mesh.

    :param client: to the coordinator, perhaps with a cached netmap.
    :param listen_port: of the node's own sockets.
    :param birthday: whether the birthday method may be used.
    :param tcp_port: where streams of peers are accepted, ``None`` for nowhere: then
        there are no direct paths over TCP.
    :param trust: which keys are whose, as far as that was known before.
    :param datapath: what carries packets, made for peers that do not roam by
        themselves.
    :param proves_routes: whether networks behind peers are routed only after a session
        with these.
    """

    def __init__(
        self,
        private_key: PrivateKey,
        client: ControlClient,
        *,
        random: Random,
        unix_time: Callable[[float], float],
        listen_port: int,
        now: float,
        birthday: bool = True,
        tcp_port: int | None = None,
        trust: Trust | None = None,
        datapath: Datapath | None = None,
        proves_routes: bool = False,
    ) -> None:
        self.public_key = format_key(private_key.public_bytes)
        self.health = Health()
        """What is wrong, as far as the node and its runtime know."""
        self.control = client
        self.trust = trust or Trust()
        self.relays = RelayPool(random=random)
        self.whereabouts = Whereabouts(random=random, listen_port=listen_port)
        self.device = Device(
            random=random, unix_time=unix_time, roaming=False, datapath=datapath
        )
        self.device.set_private_key(private_key)
        self.device.up(now)
        self.seal_one = self.device.seal_one
        self.open_one = self.device.open_one
        self.peers: dict[str, MeshPeer] = {}
        self._sounded_at = float("-inf")
        self._events: deque[NodeEvent] = deque()
        self._hubs = Diversions(self.device)
        self.failover = Failover(self.peers, self.device, now)
        self.access = AccessControl(self.device.datapath, self.health, now)
        self.exits = Exits(self.peers, self._events, self.health)
        self.proving = Proving(self.peers, now) if proves_routes else None
        overlay = Overlay()
        streams = Streams(tcp_port, overlay, random=random)
        self.paths = self._make_paths(private_key, overlay, streams, random, birthday)
        self.own_routes = OwnRoutes(self.paths, self.health, unix_time)
        self.members = self._make_members(overlay, unix_time)
        self.background = self._make_background(streams)
        self.echoes = Echoes(
            self.device.datapath, self.members, self._hubs, self._events, random
        )
        self.streaming = Streaming(streams, self.paths, self._events)
        self._traffic = Traffic(
            self.device, self.paths, self.relays, self.whereabouts, self.streaming
        )
        self.background.recall(now)

    def _make_paths(
        self,
        private_key: PrivateKey,
        overlay: Overlay,
        streams: Streams,
        random: Random,
        birthday: bool,
    ) -> Paths:
        return Paths(
            private_key,
            self.device,
            self.control,
            self.relays,
            self.whereabouts,
            self._hubs,
            overlay,
            streams,
            self._events,
            self.failover,
            random=random,
            birthday=birthday,
        )

    def _make_members(
        self, overlay: Overlay, unix_time: Callable[[float], float]
    ) -> Members:
        return Members(
            self.peers,
            self.public_key,
            self.device,
            self.control,
            self.paths,
            self._hubs,
            overlay,
            self._events,
            self.health,
            self.trust,
            unix_time,
            self.access,
            self.failover,
            self.exits,
            self.proving,
        )

    def _make_background(self, streams: Streams) -> Background:
        return Background(
            self.control,
            self.relays,
            self.whereabouts,
            self.paths,
            self.members,
            streams.lookout,
            self.device.datapath,
            self._events,
        )

    # Packets and datagrams.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take IP packets from the interface."""
        self.device.receive_packets(packets, now)
        self._traffic.pass_on_news()

    def receive_datagrams(
        self, datagrams: Iterable[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that arrived together on one socket from one endpoint."""
        batch = datagrams if isinstance(datagrams, list) else list(datagrams)
        self._traffic.receive(batch, endpoint, now)
        self._settle(now)

    def receive_stream(self, link: int, data: bytes, now: float) -> None:
        """Take bytes from the connection to a relay, or to a peer."""
        self._traffic.receive_stream(link, data, now)
        self._settle(now)

    def collect(self, now: float) -> None:
        """Deal with what the data path carried, and with what it could not."""
        self._traffic.collect(now)
        self._settle(now)

    def settle(self) -> None:
        """Take note of what went the fast path."""
        self.device.settle()
        self._traffic.pass_on_news()

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go out: by UDP, or on the stream of a relay's link."""
        return self._traffic.datagrams_to_send()

    def packets_to_write(self) -> list[bytes]:
        """Return what has to go to the interface."""
        return self.device.packets_to_write()

    def ping(self, peer: MeshPeer, identifier: int, sequence: int, now: float) -> bool:
        """Send an echo request, and check the paths beside it.

        :class:`EchoReceived` tells of the answer.
        """
        request = self.echoes.request(peer, identifier, sequence)
        if request is None:
            return False
        self.receive_packets([request], now)
        if now >= self._sounded_at + SOUND_INTERVAL:
            self._sounded_at = now
            self.paths.sound(peer, now)
        return True

    # What happens outside.

    def set_hosts(
        self,
        addresses: Sequence[str],
        now: float,
        networks: Iterable[str] = (),
        tunnels: Mapping[int, Sequence[str]] = NO_TUNNELS,
    ) -> None:
        """Take note of the host's own addresses, and of the networks they are in.

        :param tunnels: those of other programs that end here: the addresses there, by
            the number of the interface.
        """
        self.members.set_own_networks(networks)
        self.paths.set_tunnels(tunnels)
        # No tunnel runs through itself.
        usable = [each for each in addresses if not self.members.reaches(each)]
        self.whereabouts.set_hosts(usable, now)
        # Where there is another tunnel, no stream is needed to pass it.
        inside = {each for there in tunnels.values() for each in there}
        self.streaming.set_hosts([each for each in usable if each not in inside])
        # Peers are told in a moment: by then it is known whether the network changed.
        self.background.plan()

    def network_changed(self, now: float) -> None:
        """Addresses or routes changed, or the machine slept: doubt what was known."""
        self.device.unpin_endpoints()
        # An offer that only names other candidates would hold up the one that warns.
        self.streaming.network_changed()
        self.paths.network_changed(now)
        self.background.network_changed(now)

    def endpoint_failed(self, endpoint: Endpoint, now: float) -> None:
        """The system could not send there from where it was to be sent."""
        self.device.unpin_endpoints(endpoint)
        self.paths.endpoint_failed(endpoint, now)
        self.background.settle(now)

    def sockets_opened(self, request: int, ports: dict[int, int], now: float) -> None:
        """Use the sockets that were asked for: local port by link, perhaps none."""
        self.paths.sockets_opened(request, ports, now)
        self.background.settle(now)

    def control_changed(self, now: float) -> None:
        """Frames or news of the connection have reached the control client."""
        self.background.settle(now)
        self.exits.look(now)

    def use_exit(self, chosen: ChosenExit | None, now: float) -> None:
        """Reach the internet through a peer from now on, ``None`` as without a mesh."""
        self.exits.choose(chosen)
        self.members.update_interface()
        self.exits.look(now)

    def stop(self, now: float, *, for_good: bool = False) -> None:
        """Say goodbye to the coordinator and the relays.

        :param for_good: whether the node gives up its membership.
        """
        self.background.stop(now, for_good=for_good)
        self.device.down()

    # Time and events.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted, perhaps too early."""
        if self.paths.has_asked or self._traffic.has_asked:
            self.paths.has_asked = self._traffic.has_asked = False
            self.background.plan()
        times = (
            self.device.get_timer(),
            self.paths.get_timer(),
            self.background.get_timer(),
            self._hubs.get_timer(),
            self.failover.get_timer(),
            self.streaming.get_timer(),
            None if self.proving is None else self.proving.get_timer(),
        )
        return min((when for when in times if when is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self.device.handle_timer(now)
        # Checks tell what was sent before them.
        self._traffic.pass_on_news()
        self.paths.handle_timer(now)
        self._ask_far_ends(now)
        for peer in self.failover.handle_timer(now):
            self.paths.sound(peer, now)
        self.streaming.handle_timer(now)
        self._prove(now)
        self.exits.look(now)
        due = self.background.get_timer()
        if due is not None and due <= now:
            self.background.handle_timer(now)
        self._traffic.pass_on_news()
        self._settle(now)

    def _ask_far_ends(self, now: float) -> None:
        """Ask peers for echoes through their hubs, as far as that is allowed."""
        for peer, sequence in self._hubs.handle_timer(now):
            request = self.echoes.request_far_end(peer, sequence)
            if request is None or not self.access.allows_echo(request):
                self._hubs.far_ends.end(peer)
            else:
                self.device.receive_packets([request], now)

    def _prove(self, now: float) -> None:
        """Begin sessions with peers that have to prove one, and route to who has."""
        if self.proving is None:
            return
        begun, has_news = self.proving.handle_timer(now)
        for peer in begun:
            self.device.keep_warm(peer.tunnel, now)
        if has_news:
            self.members.update_interface()

    def next_event(self) -> NodeEvent | None:
        """Return what the runtime has to do or to know."""
        self.echoes.drain()
        return self._events.popleft() if self._events else None

    @property
    def drops(self) -> Counter[str]:
        """What was dropped, by reason, outside of the machines it is made of."""
        return self._traffic.drops + self.background.drops + self.paths.drops

    def _settle(self, now: float) -> None:
        """Collect what the other machines have to say, if one of them was called."""
        if self._traffic.has_asked:
            self.background.settle(now)
        if self.failover.has_moved:
            self.members.update_interface()
