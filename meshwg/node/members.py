"""The members of the mesh, and the addresses and routes that follow from them.

The netmap says who the members are. Each has a tunnel of the device and, once there is
traffic, a path agent; the networks of all of them are what the interface is to reach.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address, ip_network

from meshwg import prefixes
from meshwg.control.client import ControlClient, ControlState
from meshwg.health import Health
from meshwg.keys import parse_key
from meshwg.node.access import AccessControl
from meshwg.node.approvals import OwnOffers
from meshwg.node.claims import CODE, Claims
from meshwg.node.events import (
    InterfaceChanged,
    NodeEvent,
    PeerHeld,
    RouteTaken,
    TrustChanged,
)
from meshwg.node.exits import Exits
from meshwg.node.failover import Failover
from meshwg.node.hubs import Diversions
from meshwg.node.paths import Paths
from meshwg.node.proving import Proving
from meshwg.node.routers import Move, MoveReason, RouterStanding
from meshwg.node.staticpeers import StaticPeers, entry_of
from meshwg.node.trust import Held, Trust, claims_of
from meshwg.path.overlay import IPNetwork, Overlay
from meshwg.peer import HUB, PLAIN, MeshPeer
from meshwg.policy.guard import GuardRule
from meshwg.staticpeer import StaticPeer
from meshwg.wire import control
from meshwg.wireguard.device import Device

MAX_TOLD = 64
"""Peers that are held, and networks behind peers, that are told of at once, so that no
coordinator fills the log."""


class Members:
    """The peers of this node, and what its interface needs to reach them.

    :param peers: by public key; the members are kept in it.
    :param overlay: what is reached through the mesh, which is kept up to date.
    :param events: where changes of the interface are put.
    :param health: where networks are complained of that no peer can have.
    :param trust: which keys are whose; peers that it objects to are no members here.
    :param unix_time: returns the wall clock's time for a time of the node's clock.
    :param access: who may reach what, which follows the members.
    :param failover: which router packets to each network go to.
    :param exits: which of the members has the internet behind it for this node.
    :param proving: which of them has to prove a session before it is sent to; without
        it, none.
    """

    def __init__(
        self,
        peers: dict[str, MeshPeer],
        public_key: str,
        device: Device,
        client: ControlClient,
        paths: Paths,
        hubs: Diversions,
        overlay: Overlay,
        events: deque[NodeEvent],
        health: Health,
        trust: Trust,
        unix_time: Callable[[float], float],
        access: AccessControl,
        failover: Failover,
        exits: Exits,
        proving: Proving | None = None,
    ) -> None:
        self.peers = peers
        self._proving = proving
        self._failover = failover
        self._exits = exits
        self._access = access
        self._public_key = public_key
        self._device = device
        self._control = client
        self._paths = paths
        self._hubs = hubs
        self._overlay = overlay
        self._events = events
        self._interface = InterfaceChanged((), (), ())
        self._lost: dict[str, tuple[str, ...]] = {}
        self._lost_addresses: tuple[str, ...] | None = None
        """All of these, ``None`` after a change."""
        self._claims = Claims()
        self._has_other_routes = True
        """Whether what peers announce, or what of it can be believed, has changed."""
        self._own_routes: tuple[str, ...] = ()
        self._static = StaticPeers(device)
        self.offers = OwnOffers(client, public_key)
        """What this node offers to the mesh, with what became of it."""
        self._delivered: tuple[tuple[IPNetwork, ...], bool] | None = None
        self._health = health
        self._trust = trust
        self._unix_time = unix_time
        self._told = self._routes_told = 0
        self.gone = 0
        """How many have gone so far."""
        self.has_ipv6 = True
        """Whether this node's own interface can have IPv6 addresses."""

    @property
    def itself(self) -> control.PeerEntry | None:
        """This node as the others see it, once it has joined."""
        return self._control.peers.get(self._public_key)

    def own_addresses(self) -> tuple[str, ...]:
        """Return this node's addresses in the mesh, those that it can have."""
        assigned = self.assigned_addresses()
        return assigned if self.has_ipv6 else _without_ipv6(assigned)

    def assigned_addresses(self) -> tuple[str, ...]:
        """Return this node's addresses in the mesh, as the coordinator has them."""
        registered = self._control.registered
        addresses = registered.addresses if registered is not None else ()
        if self.itself is not None:
            addresses = self.itself.addresses
        return tuple(each for each in addresses if self._is_in_mesh(each))

    def own_routes(self) -> tuple[str, ...]:
        """Return the networks behind this node that it offers and others are told of.

        What it does not offer nobody enters, whatever the coordinator says.
        """
        if self.itself is None:
            return ()
        offered = prefixes.readable(self._control.offered_routes)
        return tuple(each for each in self.itself.routes if each in offered)

    @property
    def mesh(self) -> tuple[IPNetwork, ...]:
        """The networks of the mesh."""
        return self._overlay.mesh

    @property
    def is_exit(self) -> bool:
        """Whether this node offers itself as an exit, and is approved as one."""
        itself = self.itself
        return self._control.offers_exit and itself is not None and itself.exit

    @property
    def is_hub(self) -> bool:
        """Whether this node offers itself as a hub, and is approved as one."""
        is_started, itself = self._control.offered_role == HUB, self.itself
        return is_started and itself is not None and itself.role == HUB

    def own_internet(self) -> tuple[IPNetwork, ...]:
        """Return what others reach through this node as an exit: the internet.

        Neither the networks that its machine is in are of that, nor private ones.
        """
        if not self.is_exit:
            return ()
        own = [each for each in self._overlay.own if each.prefixlen]
        return prefixes.internet(*self._overlay.mesh, *own)

    @property
    def held(self) -> Mapping[str, Held]:
        """The peers that are not trusted, by public key."""
        return self._trust.held

    def routers(self) -> Iterator[tuple[str, MeshPeer, RouterStanding]]:
        """Yield networks behind peers with each peer that has them, the chosen first.

        Networks are in the order of their texts.
        """
        for network in sorted(self._claims.networks):
            for each in self._failover.standings(network):
                yield network, self.peers[each.key], each

    def find(self, name: str) -> MeshPeer | None:
        """Return the peer of a name, a mesh address or a public key."""
        for peer in self.peers.values():
            if name in (peer.entry.name, peer.key, *peer.entry.addresses):
                return peer
        return None

    def served_at(self, address: str) -> MeshPeer | None:
        """Return the plain peer of an address, if this node is its hub."""
        return self._hubs.plain.served_at(address)

    def reaches(self, address: str) -> bool:
        """Tell whether packets to an address go into the mesh."""
        return ip_address(address) in self._overlay

    # What is learnt.

    def set_mesh(self, registered: control.Registered) -> None:
        """Take note of the networks of the mesh."""
        networks = self._trust.judge_networks(registered.networks)
        self._overlay.set_mesh(map(ip_network, networks))
        self._has_other_routes = True
        self._settle_trust()
        self.update_interface()

    def accepted(self, registered: control.Registered, now: float) -> None:
        """Take note of what the coordinator has said of the mesh just now."""
        self.set_mesh(registered)
        if not registered.policy:
            # Perhaps it was not known whether there is one.
            self.policy_changed(now)

    def set_apart(self, is_apart: bool) -> None:
        """Know whether the node's datagrams never go where routes to peers lead."""
        self._overlay.set_apart(is_apart)

    def set_own_networks(self, networks: Iterable[str]) -> None:
        """Take note of the networks that this machine is in."""
        self._overlay.set_own(networks)
        self.update_interface()

    def change(
        self,
        changed: Iterable[control.PeerEntry],
        removed: Iterable[str],
        now: float,
        *,
        is_ahead: bool = False,
    ) -> None:
        """Take note of members that are new, changed or gone.

        What this costs follows from how many these are, and not from how many members
        there are: packets wait meanwhile.

        :param is_ahead: whether their classes are of a policy still to come.
        """
        for key in removed:
            self._trust.forget(key)
            self._remove(key)
        own = self._own_claims()
        for entry in changed:
            self._judge(entry, own, now, is_ahead=is_ahead)
        self._settle_trust()
        self._paths.permit_relays(now)
        self.update_interface()

    def set_static(self, wanted: Iterable[StaticPeer], now: float) -> None:
        """Have these plain peers beside those that the coordinator tells of."""
        members = self._control.peers
        free = [each for each in wanted if members.get(each.public_key) is None]
        news, gone = self._static.change(free)
        for key in gone:
            if members.get(key) is None:
                self._remove(key)
        for each in news:
            self._put(entry_of(each, self._public_key), now, is_ahead=False)
        self.update_interface()
        for each in news:
            self._static.steer(each, self.peers[each.public_key], now)

    def policy_changed(self, now: float) -> None:
        """Take note of another policy."""
        client = self._control
        self._access.set_policy(client.registered, client.policy, now)
        self.update_interface()

    def set_guard(self, rules: tuple[GuardRule, ...] | None, now: float) -> None:
        """Take another guard of this machine, or none."""
        self._access.set_guard(rules, now)
        self.update_interface()

    def tell_flows(self, now: float) -> None:
        """Tell the coordinator what the policy lets pass here, while it is there."""
        if self._control.state is ControlState.CONNECTED:
            flows = self._access.filter.sightings.take(now)
            if flows:
                self._control.say(control.SeenFlows(flows=tuple(flows)), now)

    def itself_changed(self, now: float) -> None:
        """Take note of another name, or other addresses, of this node."""
        self.change([held.entry for held in self.held.values()], (), now)

    def accept(self, name: str, key: str | None, now: float) -> Held:
        """Trust a peer that is held.

        :param name: its name or its public key.
        :param key: its public key, if that has to be this one.
        :raises MeshError: if there is no such peer.
        """
        held = self._trust.accept(name, key, self._unix_time(now))
        # Who had its claims may be held now, and others that were held no longer.
        claims = set(claims_of(held.entry))
        affected = [
            entry
            for entry in self._control.peers.peers
            if entry.public_key in self.held or not claims.isdisjoint(claims_of(entry))
        ]
        self.change(affected, (), now)
        return held

    def update_interface(self) -> None:
        """Say what addresses and routes the interface has to have."""
        self._settle_routes()
        overlay = self._overlay
        for peer in self._exits.settle(overlay.mesh):
            self._hubs.peer_changed(peer)
        closed = self._close_unproven()
        lengths = {4: 32, 6: 128}
        lengths |= {network.version: network.prefixlen for network in overlay.mesh}
        addresses = tuple(
            f"{address}/{lengths[6 if ':' in address else 4]}"
            for address in self.assigned_addresses()
        )
        self._deliver()
        self.offers.complain(self._health)
        change = InterfaceChanged(
            addresses,
            _texts(overlay.routes),
            _texts(overlay.hidden),
            tuple(map(str, overlay.mesh)),
            tuple(map(str, overlay.collisions)),
            tuple(sorted(map(str, self._hosts_in(overlay.collisions)))),
            self.own_routes(),
            tuple(sorted({*self._unreachable(), *closed})),
            self.is_exit,
            self._exits.interface(),
            self.is_hub,
        )
        if change != self._interface:
            if self._interface in self._events:
                # Not even for a moment may a route be there that is not wanted.
                self._events.remove(self._interface)
            self._interface = change
            self._events.append(change)

    def _close_unproven(self) -> list[str]:
        """Send packets only after peers that have proved that a session works, if that
        is wanted; return the networks that are closed until then."""
        if self._proving is None:
            return []
        peers = self.peers.values()
        self._proving.follow()
        self._overlay.announce(self._proving.routed(peers))
        return self._proving.closed(peers)

    def _deliver(self) -> None:
        """Take from peers what is for this node, or behind it; a hub, what is for all.

        The system forwards whatever it gets, perhaps into the machine's other networks.
        """
        is_hub = self.is_hub
        self._access.follow(
            self.assigned_addresses(),
            self.own_routes(),
            self.own_internet(),
            judged=self._hubs.plain.served_addresses(),
            forwards=is_hub,
        )
        self._access.serve_names(self._name_servers())
        own = map(ip_network, (*self.assigned_addresses(), *self.own_routes()))
        delivered = (*own, *self.own_internet()), is_hub
        if delivered != self._delivered:
            self._delivered = delivered
            self._device.datapath.deliver_only(delivered[0], members=is_hub)

    def _name_servers(self) -> tuple[str, ...]:
        """Return the exits that this node asks for names, or is asked as one."""
        own = self.assigned_addresses() if self.is_exit else ()
        return (*own, *(self._exits.name_servers() or ()))

    def _hosts_in(self, networks: Sequence[IPNetwork]) -> Iterator[IPNetwork]:
        """Yield the addresses of peers that are in some networks."""
        if not networks:
            return
        for peer in self.peers.values():
            for address in map(ip_network, peer.entry.addresses):
                if any(_holds(network, address) for network in networks):
                    yield address

    def _unreachable(self) -> tuple[str, ...]:
        """Return the addresses that no peer has, though the netmap says so."""
        if self._lost_addresses is None:
            lost = dict.fromkeys(each for all_ in self._lost.values() for each in all_)
            self._lost_addresses = tuple(sorted(lost))
        own = self.assigned_addresses()
        held = dict.fromkeys(
            each
            for held in self.held.values()
            for each in held.entry.addresses
            if each not in own and self._trust.owner(each) not in self.peers
        )
        if not held:
            return self._lost_addresses
        return tuple(sorted(dict.fromkeys((*self._lost_addresses, *held))))

    def _judge(
        self,
        entry: control.PeerEntry,
        own: Sequence[str],
        now: float,
        *,
        is_ahead: bool,
    ) -> None:
        """Have a peer as a member, unless it is not who it was."""
        if self._static.forget(entry.public_key):
            self._remove(entry.public_key)
            self._settle_routes()
        kept = tuple(each for each in entry.addresses if self._is_in_mesh(each))
        if kept != entry.addresses:
            entry = replace(entry, addresses=kept)
        was_held = entry.public_key in self.held
        held = self._trust.judge(entry, own, self._unix_time(now))
        if held is None:
            self._put(entry, now, is_ahead=is_ahead)
            return
        self._remove(entry.public_key)
        if not was_held and self._told < MAX_TOLD:
            self._told += 1
            self._events.append(PeerHeld(entry.name, held.reason))

    def _own_claims(self) -> tuple[str, ...]:
        """Return this node's own name and addresses, which nobody else can have."""
        registered = self._control.registered
        name = () if registered is None else (registered.name,)
        return (*name, *self.assigned_addresses())

    def _is_in_mesh(self, text: str) -> bool:
        address = prefixes.to_address(text)
        return any(address in network for network in self._overlay.mesh)

    def _settle_trust(self) -> None:
        """Tell the user of what is not trusted, and save what is new."""
        self._trust.complain(self._health)
        if self._trust.has_changed:
            self._trust.has_changed = False
            self._events.append(TrustChanged())

    def _put(self, entry: control.PeerEntry, now: float, *, is_ahead: bool) -> None:
        peer = self.peers.get(entry.public_key)
        if peer is not None and peer.is_plain != (entry.role == PLAIN):
            # The one has a path of its own, and the other never.
            self._remove(entry.public_key)
            peer = None
        self._announce(entry)
        # What it had it has until all of the news is known.
        had = peer.entry.routes if peer is not None else ()
        kept = tuple(text for text in entry.routes if text in had)
        entry = self._reachable(entry)
        if kept != entry.routes:
            entry = replace(entry, routes=kept)
        if peer is None:
            tunnel = self._device.add_peer(parse_key(entry.public_key))
            peer = self.peers[entry.public_key] = MeshPeer(entry, tunnel)
            self._paths.add(peer)
        is_back = entry.online and not peer.entry.online
        peer.entry = entry
        self._access.know(peer, is_ahead=is_ahead)
        self._hubs.peer_changed(peer)
        self._paths.entry_changed(peer, is_back=is_back, now=now)

    def _announce(self, entry: control.PeerEntry) -> None:
        """Take note of the networks behind a peer."""
        priorities = {each.prefix: each.priority for each in entry.traits}
        if self._claims.announce(entry.public_key, entry.routes, priorities):
            self._has_other_routes = True

    def _reachable(self, entry: control.PeerEntry) -> control.PeerEntry:
        """Return an entry without addresses that the peer's machine cannot have."""
        self._regain(entry.public_key)
        if entry.nat is None or not entry.nat.lacks_ipv6:
            return entry
        kept = _without_ipv6(entry.addresses)
        lost = tuple(each for each in entry.addresses if each not in kept)
        self._lost[entry.public_key], self._lost_addresses = lost, None
        return replace(entry, addresses=kept)

    def _regain(self, key: str) -> None:
        """Know of no addresses that a peer's machine cannot have."""
        if self._lost.pop(key, None) is not None:
            self._lost_addresses = None

    def _settle_routes(self) -> None:
        """Give each network to the peer that has it now, if that may have changed."""
        own = self.own_routes()
        if own == self._own_routes and not (
            self._has_other_routes or self._failover.has_moved
        ):
            return
        self._own_routes, self._has_other_routes = own, False
        self._claims.set_mesh(self._overlay.mesh, own)
        self._failover.follow(self._claims.settle())
        moves = self._failover.take_moves()
        for move in moves:
            self._tell_of_taken(move)
        # First give, which takes away: not for a moment has a network nobody.
        keys = (key for move in moves for key in (move.after, move.before))
        for key in sorted(dict.fromkeys(keys), key=lambda key: not self._gains(key)):
            peer = self.peers.get(key or "")
            if peer is not None and peer.entry.routes != self._routes_of(peer):
                peer.entry = replace(peer.entry, routes=self._routes_of(peer))
                self._access.know(peer)
                self._hubs.peer_changed(peer)
        for move in moves:
            self._failover.send_on(move)
        self._health.put(CODE, self._claims.complaint())
        if self._proving is None:
            self._overlay.announce(
                prefix for peer in self.peers.values() for prefix in peer.entry.routes
            )

    def _routes_of(self, peer: MeshPeer) -> tuple[str, ...]:
        """Return the networks that packets are sent to after a peer."""
        holder, believed = self._failover.holder, self._claims.of(peer.key)
        return tuple(text for text in believed if holder(text) == peer.key)

    def _gains(self, key: str | None) -> bool:
        peer = self.peers.get(key or "")
        return peer is not None and len(self._routes_of(peer)) > len(peer.entry.routes)

    def _tell_of_taken(self, move: Move) -> None:
        peer = self.peers.get(move.after or "")
        if peer is None:
            return
        if move.reason is MoveReason.FIRST:
            if self._routes_told >= MAX_TOLD:
                return
            self._routes_told += 1
        why = self._failover.why(move)
        self._events.append(RouteTaken(peer.entry.name, move.network, why))

    def _remove(self, key: str) -> None:
        if self._claims.announce(key, ()):
            self._has_other_routes = True
        self._regain(key)
        peer = self.peers.pop(key, None)
        if peer is not None:
            self.gone += 1
            self._access.forget(key)
            self._hubs.remove(peer)
            self._paths.remove(peer)
            self._device.remove_peer(peer.tunnel.public_key)


@lru_cache(maxsize=8)
def _texts(networks: tuple[IPNetwork, ...]) -> tuple[str, ...]:
    """Return networks as texts, in their order."""
    return tuple(sorted(map(str, networks)))


def _without_ipv6(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(address for address in addresses if ":" not in address)


def _holds(network: IPNetwork, address: IPNetwork) -> bool:
    return network.version == address.version and address.network_address in network
