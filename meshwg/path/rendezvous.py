"""What the two nodes told each other: their offers, and which addresses follow.

Offers have numbers that grow, and a session that changes when the sender starts anew.
So an offer that comes late or twice is recognized.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace

from meshwg.path.candidate import (
    Candidate,
    CandidateKind,
    is_private,
    offerable,
)
from meshwg.path.offer import Offer
from meshwg.path.overlay import IPAddress
from meshwg.path.tcp import TcpOffer, TcpTraits
from meshwg.path.traits import NatTraits
from meshwg.path.tunnels import Tunnels
from meshwg.transmit import Endpoint, Random

SESSION_LENGTH = 8


class Rendezvous:
    """The offers of this node to one peer, and of the peer to this node.

    :param overlay: what is reached through the mesh, which no candidate may be in.
    :param tunnels: is told of the tunnels that the peer speaks of.
    :param new_tags: returns what the peer's checks are to be known by.
    """

    def __init__(
        self,
        overlay: Container[IPAddress],
        random: Random,
        tunnels: Tunnels | None = None,
        new_tags: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self.nat = NatTraits()
        """The NAT in front of this node."""
        self.tcp: TcpTraits | None = None
        """Where this node accepts streams."""
        self.peer = Offer(-1)
        """The last offer of the peer; with a negative number, there was none yet."""
        self.peer_hosts: tuple[str, ...] = ()
        """Public IPv4 addresses at which someone reliable saw the peer."""
        self._tunnels = tunnels or Tunnels()
        self._overlay = overlay
        self._new_tags = new_tags
        self._session = random(SESSION_LENGTH).hex()
        self._sequence = 0
        self._own: tuple[Candidate, ...] = ()

    @property
    def has_offered(self) -> bool:
        """Whether anything was ever offered to the peer."""
        return self._sequence > 0

    @property
    def was_heard(self) -> bool:
        """Whether the peer ever offered anything."""
        return self.peer.sequence >= 0

    def set_own(self, candidates: Iterable[Candidate], nat: NatTraits) -> bool:
        """Offer these from now on; tell whether they differ from those before."""
        own, before = offerable(candidates, self._overlay), self._own
        self._own, self.nat = own, nat
        return own != before

    def own_public(self) -> str:
        """Return the IPv4 address that servers see this node at, or nothing."""
        seen = (each for each in self._own if each.kind is CandidateKind.REFLEXIVE)
        return next((each.host for each in seen if ":" not in each.host), "")

    def set_reported(self, candidates: Iterable[Candidate], nat: NatTraits) -> None:
        """Believe the coordinator about the peer, until the peer itself was heard.

        What it knows of the peer's NAT is also good when the peer did not know it yet:
        that UDP is blocked takes a while to find out.
        """
        if not self.was_heard:
            self.peer = replace(self.peer, candidates=tuple(candidates), nat=nat)
        elif self.peer.nat == NatTraits():
            self.peer = replace(self.peer, nat=nat)

    def make(
        self,
        *,
        answer: bool = False,
        trouble: bool = False,
        punch: Mapping[str, object] | None = None,
        dial: Mapping[str, object] | None = None,
    ) -> Offer:
        """Return the next offer to the peer."""
        self._sequence += 1
        tcp = None if self.tcp is None else TcpOffer(self.tcp, dial)
        return Offer(
            self._sequence,
            self._own,
            self.nat,
            self._session,
            answer=answer,
            trouble=trouble,
            punch=punch,
            tcp=tcp,
            tunnels=tuple(self._own_in_tunnels()),
            tags=self._new_tags(),
        )

    def take(self, offer: Offer) -> bool:
        """Take an offer of the peer; return whether it is a new one."""
        same_session = offer.session == self.peer.session
        if same_session and offer.sequence <= self.peer.sequence:
            return False
        if offer.nat == NatTraits():
            # What is known of its NAT is not forgotten because it does not say it.
            offer = replace(offer, nat=self.peer.nat)
        self.peer = offer
        self._tunnels.peers = frozenset(offer.tunnels)
        return True

    def targets(self) -> list[Candidate]:
        """Return what to check: what this node can reach, without relays and itself."""
        direct = [one for one in self._own if one.kind is not CandidateKind.RELAYED]
        own = {candidate.endpoint for candidate in direct}
        families = {":" in candidate.host for candidate in direct} or {False, True}
        return [
            candidate
            for candidate in (*self.peer.candidates, *self._other_addresses())
            if candidate.kind is not CandidateKind.RELAYED
            and candidate.endpoint not in own
            and (":" in candidate.host) in families
        ]

    def peer_public(self) -> tuple[Endpoint, ...]:
        """Return where the outside sees the peer's IPv4 socket, the likeliest first."""
        order = (CandidateKind.REFLEXIVE, CandidateKind.PORT_MAPPED, CandidateKind.HOST)
        return tuple(
            candidate.endpoint
            for kind in order
            for candidate in self.peer.candidates
            if candidate.kind is kind
            and ":" not in candidate.host
            and not is_private(candidate.host)
        )

    def _own_in_tunnels(self) -> Iterator[str]:
        """Yield the addresses of this node that others reach by another tunnel."""
        for candidate in self._own:
            is_own = candidate.kind is CandidateKind.HOST
            if is_own and candidate.host in self._tunnels.own.addresses:
                yield candidate.host

    def _other_addresses(self) -> list[Candidate]:
        """Return candidates for addresses that the peer itself did not name.

        A symmetric NAT with several addresses may send from any of them; a filter by
        address must have been opened for the right one.
        """
        public = self.peer_public()
        if not self.peer.nat.is_hard or not public:
            return []
        offered = {candidate.host for candidate in self.peer.candidates}
        hosts = (host for host in self.peer_hosts if host not in offered)
        return [
            Candidate(CandidateKind.REFLEXIVE, host, public[0].port) for host in hosts
        ]
