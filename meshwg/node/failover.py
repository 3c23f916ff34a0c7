"""Sends packets to networks behind peers after the routers that work.

:mod:`meshwg.node.routers` decides; here it hears what comes from peers and goes to
them, and what it wants is done: routers are checked, those in reserve are kept warm,
and the data path takes what comes from a network from each of its routers, whichever of
them this node sends to. Answers may come by another one.
"""

from collections.abc import Mapping

from meshwg import prefixes
from meshwg.node.routers import (
    Contender,
    Move,
    MoveReason,
    RouterHealth,
    Routers,
    RouterStanding,
)
from meshwg.path.routereport import RouteReport
from meshwg.peer import MeshPeer
from meshwg.wireguard.allowedips import Network
from meshwg.wireguard.device import Device
from meshwg.wireguard.lane import Lane

_NOBODY = "its router"


class Failover:
    """The routers of this node's mesh.

    :param peers: the members, by public key.
    """

    def __init__(
        self, peers: Mapping[str, MeshPeer], device: Device, now: float
    ) -> None:
        self._peers = peers
        self._device = device
        self._routers = Routers(self._round_trip)
        self._accepted: dict[Network, tuple[Lane, ...]] = {}
        self._now = now

    # What is learnt.

    def follow(self, contenders: Mapping[str, tuple[Contender, ...]]) -> None:
        """Know which peers are routers of which networks."""
        keys = dict.fromkeys(each.key for all_ in contenders.values() for each in all_)
        online = [key for key in keys if self._peers[key].entry.online]
        self._routers.set_routes(contenders, online, self._now)
        accepted: dict[Network, tuple[Lane, ...]] = {
            prefixes.network(text): tuple(
                self._peers[each.key].tunnel.lane for each in all_
            )
            for text, all_ in contenders.items()
        }
        if accepted != self._accepted:
            self._accepted = accepted
            self._device.datapath.accept_from(accepted.items())

    def heard(self, peer: MeshPeer, now: float, *, is_data: bool) -> None:
        """Note that something authentic came from a peer."""
        self._now = max(self._now, now)
        self._routers.heard(peer.key, now, is_data=is_data)

    def sent(self, peer: MeshPeer, now: float) -> None:
        """Note that something goes to a peer, or waits for a way there."""
        self._now = max(self._now, now)
        self._routers.sent(peer.key, now)

    def reported(self, peer: MeshPeer, report: RouteReport, now: float) -> None:
        """Take what a peer says of the networks behind it."""
        self._now = max(self._now, now)
        self._routers.reported(peer.key, report, now)

    # What is decided.

    @property
    def has_moved(self) -> bool:
        """Whether :meth:`take_moves` has something to return."""
        return self._routers.has_moved

    def take_moves(self) -> list[Move]:
        """Return what goes to other routers since the last call."""
        return self._routers.take_moves()

    def holder(self, network: str) -> str | None:
        """Return the key of the peer that packets to a network go to."""
        return self._routers.holder(network)

    def standings(self, network: str) -> tuple[RouterStanding, ...]:
        """Return how the routers of a network stand, the one in use first."""
        return self._routers.standings(network, self._now)

    def is_good(self, network: str) -> bool:
        """Tell whether the router of a network works, as far as is known."""
        first = next(iter(self.standings(network)), None)
        return first is None or first.health is RouterHealth.GOOD

    def why(self, move: Move) -> str:
        """Return the reason of a move, nothing where there is none worth a word."""
        if move.reason is MoveReason.FIRST:
            return ""
        sentence: str = move.reason.value
        before, after = self._name(move.before), self._name(move.after)
        return sentence.format(before=before, after=after)

    def send_on(self, move: Move) -> None:
        """Send after the new router what waits for a way to the old one."""
        before = self._peers.get(move.before or "")
        if before is not None and before.tunnel.endpoint is None:
            self._device.receive_packets(before.tunnel.take_staged(), self._now)

    # Time.

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is next wanted."""
        return self._now if self.has_moved else self._routers.get_timer()

    def handle_timer(self, now: float) -> list[MeshPeer]:
        """Keep routers in reserve warm; return the peers whose paths to check now."""
        self._now = max(self._now, now)
        due = self._routers.get_timer()
        if due is None or due > now:
            return []
        self._routers.handle_timer(now)
        checks, warm = self._routers.take_wishes()
        for key in warm:
            self._device.keep_warm(self._peers[key].tunnel, now)
        return [self._peers[key] for key in dict.fromkeys((*checks, *warm))]

    def _round_trip(self, key: str) -> float | None:
        peer = self._peers.get(key)
        agent = None if peer is None else peer.agent
        return None if agent is None else agent.round_trip

    def _name(self, key: str | None) -> str:
        peer = self._peers.get(key or "")
        return _NOBODY if peer is None else peer.entry.name
