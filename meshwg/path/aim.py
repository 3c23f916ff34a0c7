"""One attempt of prediction or birthday, and the addresses that it is aimed at."""

from dataclasses import dataclass

from meshwg.path.candidate import CandidateKind
from meshwg.path.ledger import Ledger
from meshwg.path.punch import (
    BIRTHDAY_SOCKETS,
    PREDICTION_OFFSET,
    PunchMethod,
    Role,
    port_after,
    predicted_ports,
)
from meshwg.path.volley import (
    BIRTHDAY_WAVES,
    EARLY_GROWTH_WAVES,
    GROWTH_WAVES,
    PREDICTION_WAVES,
    Shot,
    fan,
    meet,
    scatter,
    sweep,
)
from meshwg.transmit import UDP, Endpoint, Random

PROBED_HOSTS = 2
"""Public addresses of one peer that probes are spread over."""


@dataclass(frozen=True, slots=True)
class KnownAddresses:
    """Where many packets may be aimed at: what the peer claims and others confirm."""

    ledger: Ledger
    public: tuple[Endpoint, ...]
    """Where the outside sees the peer's socket, as it says."""
    seen: tuple[str, ...]
    """Where someone reliable saw the peer."""
    by_address: bool
    """Whether this node's NAT filters by address."""

    def targets(self) -> list[Endpoint]:
        """Return the peer's endpoints that a fan opens its own NAT for.

        A NAT that filters by address ignores ports, but has to know every address
        that the peer's NAT may send from. So such a fan aims at all that are known,
        if need be with a port that somebody else was shown.
        """
        confirmed = self._confirmed()
        if not self.by_address or not self.public:
            return confirmed[:1]
        port = self.public[0].port
        claimed = {endpoint.host: endpoint for endpoint in reversed(confirmed)}
        return [claimed.get(host, Endpoint(host, port)) for host in self.hosts()]

    def hosts(self) -> list[str]:
        """Return the addresses that the peer's sockets may be seen as."""
        claimed = [endpoint.host for endpoint in self._confirmed()]
        return list(dict.fromkeys([*claimed, *self.seen]))[:PROBED_HOSTS]

    def _confirmed(self) -> list[Endpoint]:
        """Return the peer's public endpoints whose host is not just its claim."""
        return [
            endpoint
            for endpoint in self.public
            if endpoint.host in self.seen or self.ledger.is_confirmed(endpoint.host)
        ]


_KINDS = {
    PunchMethod.FRESH: CandidateKind.PEER_REFLEXIVE,
    PunchMethod.PREDICTION: CandidateKind.PREDICTED,
    PunchMethod.BIRTHDAY: CandidateKind.BIRTHDAY,
}


@dataclass(slots=True)
class PunchAttempt:
    """One attempt, as one side sees it."""

    id: int
    method: PunchMethod
    role: Role
    peer_role: Role
    leads: bool = False
    """Whether this side begins before the peer."""
    own_sequence: tuple[int, int] | None = None
    """The last observed public port and the step, of this side; with a fresh socket,
    its public port."""
    names_port: bool = False
    """Whether a fan on the other side aims at the port that this side names."""
    peer_sequence: tuple[int, int] | None = None
    fresh: int | None = None
    """The socket that a prober sends from, ``None`` for the node's own."""
    links: tuple[int, ...] = ()
    canaries: tuple[int, ...] = ()
    """Those of the links that only watch for room."""
    first: int = BIRTHDAY_SOCKETS
    """Flows that a birthday fan begins with; the others follow if nothing answers."""
    most: int | None = None
    """The most probes that this side may send."""
    volleys: int = 0
    """Those that were counted for the probed addresses."""
    winner: int | None = None
    elected_at: float = 0.0

    @property
    def kind(self) -> CandidateKind:
        """What a path that this attempt finds is called."""
        return _KINDS[self.method]

    @property
    def needs_sample(self) -> bool:
        """Whether the peer has to know which public ports this side gets."""
        return self.role is Role.FAN and self.method is not PunchMethod.BIRTHDAY

    @property
    def is_probing(self) -> bool:
        """Whether this side sends from one socket to many random ports."""
        return self.role is Role.PROBE and self.method is PunchMethod.BIRTHDAY

    @property
    def knows_target(self) -> bool:
        """Whether this side can begin."""
        if self.peer_role is Role.FAN and self.method is not PunchMethod.BIRTHDAY:
            return self.peer_sequence is not None
        return True

    def aim(
        self, peer: KnownAddresses, random: Random, now: float, volleys: int = 1
    ) -> list[Shot]:
        """Return the checks that this side sends.

        :param volleys: of birthday probes; the second is for when the first missed.
        """
        if self.role is Role.FAN:
            return self._aim_fan(peer, now)
        link = UDP if self.fresh is None else self.fresh
        if self.peer_sequence is not None:
            ports = predicted_ports(*self.peer_sequence)
            return sweep(peer.hosts()[0], ports, now, link)
        return scatter(peer.hosts(), random, now, volleys, link)[: self.most]

    def _aim_fan(self, peer: KnownAddresses, now: float) -> list[Shot]:
        targets = peer.targets()
        if self.peer_role is Role.PROBE and self.peer_sequence is not None:
            port, _ = self.peer_sequence
            targets = [target._replace(port=port) for target in targets]
        if self.method is PunchMethod.BIRTHDAY:
            links = [link for link in self.links if link not in self.canaries]
            first = max(1, self.first // len(targets))
            growth = EARLY_GROWTH_WAVES if peer.by_address else GROWTH_WAVES
            shots = [
                *fan(links[:first], targets, BIRTHDAY_WAVES, now),
                *fan(links[first:], targets, growth, now),
            ]
            return sorted(shots, key=lambda shot: shot.when)
        if self.method is PunchMethod.FRESH and self.peer_sequence is not None:
            port, link = self.peer_sequence[0], self.links[0]
            target = targets[0]._replace(port=port, link=link)
            return meet(target, now, leads=self.leads)
        # A second target would take ports out of the sequence.
        del targets[1:]
        if self.peer_role is Role.FAN and self.peer_sequence is not None:
            port, delta = self.peer_sequence
            port = port_after(port, delta, PREDICTION_OFFSET)
            targets = [targets[0]._replace(port=port)]
        return fan(self.links, targets, PREDICTION_WAVES, now)
