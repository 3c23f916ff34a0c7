"""An agent whose peer is played by a test."""

import random
from collections.abc import Iterator

from meshwg.keys import PrivateKey
from meshwg.path.agent import PathAgent
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.check import Asked, CheckKeys, Checks
from meshwg.path.events import CandidatesOffered
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer
from meshwg.path.traits import NatTraits
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun
from tests.path.test_punch import CONE

RELAY = Endpoint("198.51.100.9", 50000, 1)
FAR = Endpoint("203.0.113.2", 2222)
LAN = Endpoint("192.168.1.2", 2222)
OWN = Candidate(CandidateKind.HOST, "192.168.7.7", 1111)
LOW = PrivateKey.from_bytes(bytes([2] * 32))
HIGH = PrivateKey.from_bytes(bytes([1] * 32))
"""The controlling side is the one with the smaller public key."""
PEER_CANDIDATES = [
    Candidate(CandidateKind.HOST, *LAN[:2]),
    Candidate(CandidateKind.REFLEXIVE, *FAR[:2]),
    Candidate(CandidateKind.RELAYED, "198.51.100.9", 50000),
]


class Stage:
    """An agent, its clock, and the peer's part of the protocol."""

    def __init__(
        self,
        *,
        relay: Endpoint | None = RELAY,
        controlling: bool = True,
        nat: NatTraits = CONE,
        confirmed: bool = False,
        limiter: PunchLimiter | None = None,
    ) -> None:
        own, peer = sorted((LOW, HIGH), key=lambda key: key.public_bytes)
        if not controlling:
            own, peer = peer, own
        self.now = self.proven_at = 1000.0
        self.agent = PathAgent(
            keys_of(own, peer), random=random.Random(1).randbytes, limiter=limiter
        )
        self.peer = Checks(keys_of(peer, own), random.Random(2).randbytes)
        self.events: list[object] = []
        self._out: list[Transmit] = []
        self._sent: dict[str, int] = {}
        self._sequence = 0
        self.agent.set_local_candidates([OWN], nat, self.now)
        self.agent.set_relay(relay, self.now)
        if confirmed:
            self.agent.confirm_hosts([FAR.host])
        self.drain()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where data goes now."""
        return self.agent.endpoints

    def drain(self) -> None:
        """Take everything that the agent put out."""
        for transmit in self.agent.datagrams_to_send():
            host = transmit.destination.host
            self._sent[host] = self._sent.get(host, 0) + len(transmit.datagrams)
            self._out.append(transmit)
        while (event := self.agent.next_event()) is not None:
            self.events.append(event)

    def sent(self) -> list[Transmit]:
        """Return what was sent since the last call, besides checks of the relay."""
        self.drain()
        out, self._out = self._out, []
        return [t for t in out if t.destination != RELAY]

    def all_sent(self, host: str) -> int:
        """Return how many datagrams ever went to a host."""
        return self._sent.get(host, 0)

    def offers(self) -> list[Offer]:
        """Return the offers made, and forget them."""
        self.drain()
        offers = [e.offer for e in self.events if isinstance(e, CandidatesOffered)]
        self.events = [e for e in self.events if not isinstance(e, CandidatesOffered)]
        return offers

    def offer(
        self,
        candidates: list[Candidate] = PEER_CANDIDATES,
        *,
        nat: NatTraits = CONE,
        sequence: int | None = None,
        session: str = "peer",
        answer: bool = False,
        trouble: bool = False,
        punch: dict[str, object] | None = None,
    ) -> None:
        """Receive an offer of the peer."""
        self._sequence += 1
        offer = Offer(
            self._sequence if sequence is None else sequence,
            tuple(candidates),
            nat,
            session,
            answer=answer,
            trouble=trouble,
            punch=punch,
        )
        self.agent.receive_offer(offer, self.now)

    def check_from(self, source: Endpoint) -> bool:
        """Receive a check of the peer."""
        check = self.peer.ask(source, CandidateKind.HOST, self.now)
        return self.agent.receive_stun(stun.parse(check), source, self.now)

    def answer(self, transmit: Transmit, source: Endpoint | None = None) -> None:
        """Let the peer answer a check, if it is one, after 20 ms."""
        if not is_request(transmit):
            return
        asked = self.peer.receive(stun.parse(transmit.datagrams[0]), FAR, self.now)
        assert isinstance(asked, Asked)
        self.now += 0.02
        origin = source or transmit.destination
        self.agent.receive_stun(stun.parse(asked.answer), origin, self.now)
        self.drain()

    def until(
        self,
        when: float,
        *,
        traffic: bool = False,
        answering: bool = False,
        replying: bool = False,
        step: float = 0.5,
    ) -> list[tuple[float, Transmit]]:
        """Let time pass; return what is sent from now on, and when.

        :param answering: checks are answered.
        :param replying: data is answered by data.
        """
        self.drain()
        return list(self._until(when, traffic, answering, replying, step))

    def become_direct(self, source: Endpoint = FAR) -> None:
        """Go through a round in which one address answers."""
        self.agent.sent(self.now)
        self.drain()
        self.offer(answer=True)
        for _, transmit in self.until(self.now + 0.03):
            if transmit.destination == FAR and transmit.ttl is None:
                self.answer(transmit, source)
                self.proven_at = self.now
                break
        self.until(self.now + 0.5)
        self.sent()

    def _until(
        self,
        when: float,
        traffic: bool,
        answering: bool,
        replying: bool,
        step: float,
    ) -> Iterator[tuple[float, Transmit]]:
        next_packet = self.now
        while True:
            self.drain()
            out, self._out = self._out, []
            for transmit in out:
                yield self.now, transmit
                if answering and transmit.destination != LAN:
                    self.answer(transmit)
            timer = self.agent.get_timer()
            due = min(when, timer if timer is not None else when)
            if traffic:
                due = min(due, next_packet)
            if due >= when:
                break
            self.now = max(self.now, due)
            if traffic and self.now >= next_packet:
                self.agent.sent(self.now)
                if replying:
                    self.agent.authenticated(FAR, self.now)
                next_packet = self.now + step
            if timer is not None and timer <= self.now:
                self.agent.handle_timer(self.now)
        self.now = max(self.now, when)


def is_request(transmit: Transmit) -> bool:
    return stun.parse(transmit.datagrams[0]).cls is stun.Class.REQUEST


def keys_of(own: PrivateKey, peer: PrivateKey) -> CheckKeys:
    keys = CheckKeys.derive(own, peer.public_bytes)
    assert keys is not None
    return keys
