"""The relayed addresses by which peers are reached, and the hosts that are permitted.

A pair of nodes is relayed where both have an allocation: packets go over this node's
relay to the peer's relayed address. What the coordinator, or a peer, names as such an
address is used only if it can be one: if it is at a host of the mesh's relays, or the
peer has answered a check there. Otherwise a member could send all that others have for
it to somebody else. Where a relay gives out addresses of other hosts than its own, one
check goes first, and no more than one in a few seconds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from meshwg.path.candidate import Candidate, CandidateKind, Rejection, admit_candidates
from meshwg.path.overlay import Overlay
from meshwg.peer import MeshPeer
from meshwg.relay.pool import RelayPool
from meshwg.transmit import Endpoint
from meshwg.wire.control import ReportedCandidate

UNPROVEN = "relayed-address-unproven"
"""Says of an address that it is at no relay of the mesh, and nobody has answered."""
PROOF_INTERVAL = 5.0
"""Seconds between two checks of such an address."""


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
        self._named: Counter[str] = Counter()
        """By how many peers each host is named as a relay's."""
        self._named_by: dict[MeshPeer, tuple[str, ...]] = {}
        self._hosts: frozenset[str] | None = None
        """Those of the mesh's relays, ``None`` before they are known."""
        self._proven: dict[MeshPeer, Endpoint] = {}
        """Where peers have answered a check through a relay."""
        self._doubtful: dict[MeshPeer, Endpoint] = {}
        self._asked_at: dict[MeshPeer, float] = {}

    def set_hosts(self, hosts: Iterable[str]) -> None:
        """Know the addresses of the mesh's relays."""
        self._hosts = frozenset(hosts)

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

    def learn(
        self, peer: MeshPeer, source: Endpoint, now: float, *, is_answer: bool
    ) -> bool:
        """Answer a peer where it spoke from; tell whether that is another address.

        :param is_answer: whether it answered a check. Whoever only speaks may write any
            source under that.
        """
        if is_answer:
            self._proven[peer] = Endpoint(source.host, source.port)
        if peer.relayed is not None and peer.relayed[:2] == source[:2]:
            return False
        self.set(peer, source.host, source.port, now)
        return True

    def to_check(self, peer: MeshPeer, now: float) -> Endpoint | None:
        """Return the address at which a check has to be answered first, if any."""
        doubtful = self._doubtful.get(peer)
        if doubtful is None or self.link is None:
            return None
        if now < self._asked_at.get(peer, float("-inf")) + PROOF_INTERVAL:
            return None
        self._asked_at[peer] = now
        return doubtful._replace(link=self.link)

    def set(self, peer: MeshPeer, host: str, port: int, now: float) -> None:
        """Reach a peer at a relayed address, if that can be one: its ``relayed``."""
        link, rejection = self.link, self._rejection(host)
        self._doubtful.pop(peer, None)
        if rejection is not None:
            self.drops[rejection.value] += 1
            link = None
        elif link is not None and not self._is_trusted(peer, host, port):
            self.drops[UNPROVEN] += 1
            self._doubtful[peer] = Endpoint(host, port)
            link = None
        endpoint = None if link is None else Endpoint(host, port, link)
        if peer.relayed is not None and peer.relayed != endpoint:
            self._relays.close(peer.relayed)
        if endpoint is not None and peer.relayed != endpoint:
            self._relays.open(endpoint, now)
        peer.relayed = endpoint

    def follow(self, peer: MeshPeer) -> None:
        """Take note of the relays that a peer names, before :meth:`permit`."""
        hosts = tuple(dict.fromkeys(each.host for each in peer.relay_candidates()))
        before = self._named_by.get(peer, ())
        if hosts == before:
            return
        self._named.update(hosts)
        self._forget(peer)
        if hosts:
            self._named_by[peer] = hosts

    def permit(self, now: float) -> None:
        """Let the first packet of a peer in, whichever relay it comes through."""
        hosts = dict.fromkeys(
            host for host in self._named if self._rejection(host) is None
        )
        for host in self._permitted:
            if host not in hosts:
                self._relays.forbid(host)
        for host in hosts:
            if host not in self._permitted:
                self._relays.permit(host, now)
        self._permitted = hosts

    def close(self, peer: MeshPeer) -> None:
        """Forget a peer that is no longer a member."""
        self._forget(peer)
        self._proven.pop(peer, None)
        self._doubtful.pop(peer, None)
        self._asked_at.pop(peer, None)
        if peer.relayed is not None:
            self._relays.close(peer.relayed)

    def _forget(self, peer: MeshPeer) -> None:
        """Take no note any more of the relays that a peer named."""
        for host in self._named_by.pop(peer, ()):
            self._named[host] -= 1
            if not self._named[host]:
                del self._named[host]

    def doubt(self, now: float) -> None:
        """See whether the relay still knows this node: its address may be another."""
        self._relays.doubt(now)

    def refusal_of(self, peer: MeshPeer) -> str | None:
        """Return why the relay does not carry to a peer, if it said so."""
        return None if peer.relayed is None else self._relays.refusal_of(peer.relayed)

    def _is_trusted(self, peer: MeshPeer, host: str, port: int) -> bool:
        """Tell whether data may go to an address because somebody says so."""
        own = self._relays.relayed
        return (
            self._hosts is None
            or host in self._hosts
            or (own is not None and own.host == host)
            or self._proven.get(peer) == Endpoint(host, port)
        )

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
