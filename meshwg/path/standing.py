"""What is told of the way to one peer: that it changed, and where it stands.

The path in use need not be the one that carries the data: while it is in doubt, data
also goes through the relay, and what arrives most likely came from there. So that is
what users are shown.
"""

from meshwg.path.delivery import Delivery
from meshwg.path.dialer import Dialer
from meshwg.path.events import PathStatus, SelectionChanged
from meshwg.path.holepunching import HolePunching
from meshwg.path.limiter import PunchLimiter
from meshwg.path.puncher import Puncher
from meshwg.path.reason import Situation, explain
from meshwg.path.rendezvous import Rendezvous
from meshwg.path.table import PathTable
from meshwg.transmit import Endpoint


class Standing:
    """Sees all that an agent has, and changes nothing of it."""

    def __init__(
        self,
        table: PathTable,
        delivery: Delivery,
        punching: HolePunching,
        puncher: Puncher,
        dialer: Dialer,
        rendezvous: Rendezvous,
        limiter: PunchLimiter,
    ) -> None:
        self._table = table
        self._delivery = delivery
        self._punching = punching
        self._puncher = puncher
        self._dialer = dialer
        self._rendezvous = rendezvous
        self._limiter = limiter
        self._told: SelectionChanged | None = None
        self._since: float | None = None

    def status(self, heard: Endpoint | None, now: float) -> PathStatus:
        """Return what is known about the path, and why it is this one.

        :param heard: where data goes without any path.
        """
        carrier = self._table.carrier(now)
        planned = (self._punching.next_at, self._delivery.next_at)
        next_at = min((when for when in planned if when is not None), default=None)
        if carrier is None:
            kind, method = "none", None
        else:
            kind = "relay" if carrier.is_relayed else "direct"
            method = carrier.kind.value
        return PathStatus(
            kind=kind,
            method=method,
            remote=carrier.endpoint if carrier else heard,
            rtt=carrier.statistics.rtt if carrier else None,
            loss=carrier.loss if carrier else 0.0,
            since=self._since,
            reason=self._reason(now),
            attempts=tuple(self._punching.history),
            next_attempt_in=None if next_at is None else max(0.0, next_at - now),
        )

    def change(self, *, doubted: bool, now: float) -> SelectionChanged | None:
        """Return what is news since the last call.

        :param doubted: whether data goes to two places while there is traffic.
        """
        carrier = self._table.carrier(now)
        kind = carrier.kind if carrier else None
        endpoint = carrier.endpoint if carrier else None
        change = SelectionChanged(kind, endpoint, doubted)
        if change == self._told:
            return None
        if self._told is None or endpoint != self._told.endpoint:
            self._since = now
        self._told = change
        return change

    def _reason(self, now: float) -> str:
        return explain(
            Situation(
                now=now,
                selected=self._table.selected,
                method=self._puncher.method,
                in_round=self._punching.in_round,
                own=self._rendezvous.nat,
                peer=self._rendezvous.peer.nat,
                birthday=self._limiter.birthday,
                history=self._punching.history,
                avoided=self._table.avoided(now),
                relay=self._table.relay,
                tcp=self._dialer.status(was_heard=self._rendezvous.was_heard),
            )
        )
