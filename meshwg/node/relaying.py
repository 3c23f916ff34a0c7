"""The relayed addresses by which peers are reached, and the hosts that are permitted.

A pair of nodes is relayed where both have an allocation: packets go over this node's
relay to the peer's relayed address. What the coordinator, or a peer, names as such an
address is used only if it can be one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from meshwg.path.candidate import Candidate, CandidateKind, Rejection, admit_candidates
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.relay.pool import RelayPool
from meshwg.transmit import Endpoint
from meshwg.wire.control import ReportedCandidate


class Relaying:
    """The relayed side of all peers.

    :param overlay: what is reached through the mesh.
    :ivar link: that of this node's relay, ``None`` while it has none.
    """

    def __init__(self, relays: RelayPool, overlay: Overlay) -> None:
        self.link: int | None = None
        self.drops: Counter[str] = Counter()
        self._relays = relays
        self._overlay = overlay
        self._permitted: dict[str, None] = {}

    def offer(self, peer: MeshPeer, now: float) -> bool:
        """Find the way to a peer through the relay; tell whether there can be one."""
        candidate = self._choose(peer.relay_candidates())
        if candidate is not None:
            self.set(peer, candidate.host, candidate.port, now)
        elif peer.relayed is not None:
            self.set(peer, peer.relayed.host, peer.relayed.port, now)
        return candidate is not None or peer.relayed is not None

    def _choose(
        self, candidates: Sequence[ReportedCandidate]
    ) -> ReportedCandidate | None:
        """Return the first address that is not at a relay this node has given up.

        If that relay is dead, the peer has left it, too, and perhaps nobody is there
        to say so.
        """
        alive = (c for c in candidates if not self._relays.has_given_up(c.host))
        return next(alive, next(iter(candidates), None))

    def learn(self, peer: MeshPeer, source: Endpoint, now: float) -> bool:
        """Answer a peer where it spoke from; tell whether that is another address."""
        if peer.relayed is not None and peer.relayed[:2] == source[:2]:
            return False
        self.set(peer, source.host, source.port, now)
        return True

    def set(self, peer: MeshPeer, host: str, port: int, now: float) -> None:
        """Reach a peer at a relayed address, if that can be one: its ``relayed``."""
        link, rejection = self.link, self._rejection(host)
        if rejection is not None:
            self.drops[rejection.value] += 1
            link = None
        endpoint = None if link is None else Endpoint(host, port, link)
        if peer.relayed is not None and peer.relayed != endpoint:
            self._relays.close(peer.relayed)
        if endpoint is not None and peer.relayed != endpoint:
            self._relays.open(endpoint, now)
        peer.relayed = endpoint

    def permit(self, peers: Iterable[MeshPeer], now: float) -> None:
        """Let the first packet of a peer in, whichever relay it comes through."""
        candidates = (each for peer in peers for each in peer.relay_candidates())
        named = dict.fromkeys(each.host for each in candidates)
        hosts = dict.fromkeys(host for host in named if self._rejection(host) is None)
        for host in self._permitted:
            if host not in hosts:
                self._relays.forbid(host)
        for host in hosts:
            if host not in self._permitted:
                self._relays.permit(host, now)
        self._permitted = hosts

    def close(self, peer: MeshPeer) -> None:
        """Forget a peer that is no longer a member."""
        if peer.relayed is not None:
            self._relays.close(peer.relayed)

    def doubt(self, now: float) -> None:
        """See whether the relay still knows this node: its address may be another."""
        self._relays.doubt(now)

    def refusal_of(self, peer: MeshPeer) -> str | None:
        """Return why the relay does not carry to a peer, if it said so."""
        return None if peer.relayed is None else self._relays.refusal_of(peer.relayed)

    def _rejection(self, host: str) -> Rejection | None:
        """Return why no relay can be at an address that the coordinator named.

        An address on this node's own relay is accepted wherever that is.
        """
        own = self._relays.relayed
        if own is not None and own.host == host:
            return None
        claim = Candidate(CandidateKind.RELAYED, host, 1)
        _, rejections = admit_candidates([claim], self._overlay)
        return next(iter(rejections), None)
