"""Two punchers that hear of each other, and what each of them sends."""

import random
from collections.abc import Mapping

from meshwg.keys import PrivateKey
from meshwg.path.check import CheckKeys, Checks
from meshwg.path.ledger import Ledger
from meshwg.path.limiter import PunchLimiter
from meshwg.path.punch import SAMPLES, PunchMethod, Role
from meshwg.path.puncher import Puncher, PunchState
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun

SERVER = Endpoint("198.51.100.1", 3478)
HOSTS = {True: "203.0.113.1", False: "203.0.113.2"}
"""The public address of the controlling side, and of the other."""

PROBE_FAN = Role.PROBE, Role.FAN
FAN_PROBE = Role.FAN, Role.PROBE
FAN_FAN = Role.FAN, Role.FAN


class Pair:
    """A controlling puncher and its peer."""

    def __init__(
        self,
        *,
        confirmed: bool = True,
        boss_limiter: PunchLimiter | None = None,
        other_limiter: PunchLimiter | None = None,
    ) -> None:
        keys = sorted(
            (PrivateKey.from_bytes(bytes([n] * 32)) for n in (1, 2)),
            key=lambda key: key.public_bytes,
        )
        self.boss = new_puncher(keys[0], keys[1], boss_limiter)
        self.other = new_puncher(keys[1], keys[0], other_limiter)
        for puncher, peer in ((self.boss, False), (self.other, True)):
            puncher.stun_server = SERVER
            puncher.peer_public = (Endpoint(HOSTS[peer], 1111),)
            puncher.peer_hosts = (HOSTS[peer],) if confirmed else ()
        self.room: int | None = None
        """How many flows the NATs let in, if there is a limit."""
        self.known_links: set[int] = set()

    def states(self) -> tuple[PunchState, PunchState]:
        return self.boss.state, self.other.state

    def exchange(self, now: float) -> None:
        """Pass on all steps, in both directions."""
        while self.boss.messages or self.other.messages:
            for sender, receiver in ((self.boss, self.other), (self.other, self.boss)):
                steps: list[Mapping[str, object]] = list(sender.messages)
                sender.messages.clear()
                for step in steps:
                    receiver.receive(step, now)

    def open_sockets(self, puncher: Puncher, now: float) -> None:
        wanted, puncher.sockets_wanted = puncher.sockets_wanted, 0
        puncher.add_sockets(range(100, 100 + wanted), now)

    def show_ports(self, puncher: Puncher, ports: list[int], now: float) -> None:
        """Answer the samples that were sent."""
        samples = [t for t in puncher.transmits if t.destination.host == SERVER.host]
        puncher.transmits.clear()
        assert len(samples) == min(SAMPLES, len(puncher.links))
        for transmit, port in zip(samples, ports, strict=True):
            transaction_id = stun.quick_binding(transmit.datagrams[0])
            assert transaction_id is not None
            data = stun.binding_response(transaction_id, Endpoint(HOSTS[True], port))
            message = stun.parse(data)
            assert puncher.receive_stun(message, transmit.destination, now)

    def run(self, now: float, until: float) -> dict[bool, list[Transmit]]:
        """Let time pass; return what each side sent, the boss's under ``True``."""
        while True:
            timers = [p.get_timer() for p in (self.boss, self.other)]
            now = max(now, min((t for t in timers if t is not None), default=until))
            if now >= until:
                break
            for puncher in (self.boss, self.other):
                puncher.handle_timer(now)
                if puncher.state is PunchState.FIRING:
                    self.answer_canaries(puncher, now)
        return {True: self.boss.transmits, False: self.other.transmits}

    def answer_canaries(self, puncher: Puncher, now: float) -> None:
        """Answer those that find room, and forget all."""
        asked = [t for t in puncher.transmits if t.destination.host == SERVER.host]
        shots = [t for t in puncher.transmits if t.destination.host != SERVER.host]
        puncher.transmits[:] = shots
        opened = {t.destination for t in shots}
        for transmit in asked:
            link = transmit.destination.link
            is_known = link in self.known_links
            if self.room is None or len(opened) < self.room or is_known:
                self.known_links.add(link)
                transaction_id = stun.quick_binding(transmit.datagrams[0])
                assert transaction_id is not None
                seen = Endpoint(HOSTS[True], 4000)
                data = stun.binding_response(transaction_id, seen)
                puncher.receive_stun(stun.parse(data), transmit.destination, now)


def birthday_targets(pair: Pair) -> set[tuple[str, int]]:
    """Return where the other side, as the fan, sends to."""
    pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, 0.0)
    pair.exchange(0.0)
    pair.open_sockets(pair.other, 0.1)
    pair.exchange(0.1)
    sent = pair.run(0.1, 2.0)[False]
    return {(t.destination.host, t.destination.port) for t in sent}


def begun_birthday(
    limiter: PunchLimiter | None = None,
    *,
    fan_limiter: PunchLimiter | None = None,
    now: float = 0.0,
) -> Pair:
    """Return a pair that has just begun to send; the other side is the fan.

    :param limiter: of the prober.
    """
    pair = Pair(boss_limiter=limiter, other_limiter=fan_limiter)
    assert pair.boss.begin(PunchMethod.BIRTHDAY, PROBE_FAN, now) is None
    pair.exchange(now)
    pair.open_sockets(pair.other, now + 0.1)
    pair.exchange(now + 0.1)
    return pair


def firing_birthday() -> Pair:
    """Return a pair in the middle of a birthday; the other side is the fan."""
    pair = begun_birthday()
    for puncher in (pair.boss, pair.other):
        puncher.transmits.clear()
    return pair


def new_puncher(
    own: PrivateKey, peer: PrivateKey, limiter: PunchLimiter | None
) -> Puncher:
    keys = CheckKeys.derive(own, peer.public_bytes)
    assert keys is not None
    source = random.Random(5).randbytes
    return Puncher(Checks(keys, source), Ledger(), limiter or PunchLimiter(), source)
