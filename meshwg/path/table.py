"""All paths to one peer: which of them carries the data, and which are kept warm.

Only an answered check makes a path a choice. The relay is the exception: it is used
before it is proven, so that data never waits. A path that is selected stays selected
until it is outranked, or doubted while there is traffic and another one works, or its
consent is gone: failing checks of other paths change nothing.
"""

from collections.abc import Iterable, Iterator

from meshwg.path.candidate import OFFERED_KINDS, Candidate, CandidateKind
from meshwg.path.path import Path
from meshwg.path.score import is_worthwhile, outranks
from meshwg.path.tunnels import PATIENCE, Tunnels
from meshwg.transmit import Endpoint

HEARTBEAT = 3.0
"""Seconds between checks of the selected path while there is traffic."""

ALTERNATE_HEARTBEAT = 15.0
"""The same for the paths that would be chosen next, and for the relay."""

KEEPALIVE = 25.0
"""The same for the selected path without traffic: below the timeouts of NATs."""

RELAY_RETRY = 5.0
"""Seconds between checks of a relay through which the peer never answered."""

RELAY_BURST = (0.0, 0.5, 1.5, 3.5)
ALTERNATES = 2
"""Direct paths kept warm besides the selected one."""

LOST_RETRY = 1.5
"""Seconds between checks of a direct path that was given up, while there is traffic: an
outage may end, and both sides together keep their NATs open for each other."""

LOST_PATIENCE = 120.0
"""Seconds after which a path that was given up is forgotten."""

UNPROVEN_LIMIT = 32
"""Paths that are known but never worked: candidates, and addresses learnt."""


class PathTable:
    """The paths to one peer, by endpoint; each endpoint without its sticky source.

    :param tunnels: which of them lead through other tunnels.
    """

    def __init__(self, tunnels: Tunnels | None = None) -> None:
        self._tunnels = tunnels or Tunnels()
        self._paths: dict[Endpoint, Path] = {}
        self._relies_on: Path | None = None
        self._no_tunnel_before = float("-inf")
        self.selected: Path | None = None
        """What data is sent on."""
        self.relay: Path | None = None

    def __iter__(self) -> Iterator[Path]:
        return iter(self._paths.values())

    def find(self, endpoint: Endpoint) -> Path | None:
        """Return the path to an endpoint, if it is known."""
        return self._paths.get(endpoint.unpinned())

    def add(self, endpoint: Endpoint, kind: CandidateKind) -> Path:
        """Return the path to an endpoint, a new one if needed.

        An address that was learnt and is offered later takes the offered kind.
        """
        key = endpoint.unpinned()
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = Path(endpoint, kind)
            self._evict(spare=path)
        elif path.kind is CandidateKind.PEER_REFLEXIVE:
            path.kind = kind
        return path

    def remove(self, path: Path) -> None:
        """Forget a path."""
        self._paths.pop(path.endpoint.unpinned(), None)
        if self.selected is path:
            self.selected = None
        if self.relay is path:
            self.relay = None

    def set_relay(self, endpoint: Endpoint | None, now: float) -> None:
        """Use this way through a relay from now on, or none."""
        if self.relay is not None:
            if endpoint is not None and self.find(endpoint) is self.relay:
                return
            self.remove(self.relay)
        if endpoint is not None:
            self.relay = self.add(endpoint, CandidateKind.RELAYED)
            self.relay.kind = CandidateKind.RELAYED
            self.relay.burst(now, RELAY_BURST)

    def rename(self, candidates: Iterable[Candidate]) -> None:
        """Take note of what the peer offers now.

        Addresses that it no longer offers and that never worked are forgotten;
        those that were learnt before they were offered take the offered kind.
        """
        offered = {candidate.endpoint: candidate.kind for candidate in candidates}
        for path in list(self.direct()):
            kind = offered.get(path.endpoint.unpinned())
            if kind is not None:
                self.add(path.endpoint, kind)
            elif not path.is_proven and path.kind in OFFERED_KINDS:
                self.remove(path)

    def is_tunnel(self, endpoint: Endpoint) -> bool:
        """Tell whether another tunnel leads to an endpoint."""
        return self._tunnels.carry(endpoint)

    def follow_tunnels(self) -> None:
        """See which paths lead through other tunnels, after some were answered.

        Where an endpoint is not pinned, it is not known any better than before.
        """
        for path in self.direct():
            is_one = self._tunnels.carry(path.endpoint)
            if is_one or path.endpoint.source is not None:
                path.is_tunnelled = is_one

    def distrust(self, now: float, spare: Path | None = None) -> None:
        """Check every path that worked but one: the network is not what it was."""
        for path in self:
            if path.is_proven and path is not spare:
                path.distrust(now)

    def direct(self) -> Iterator[Path]:
        """Yield the paths that need no relay."""
        return (path for path in self if not path.is_relayed)

    def unproven(self) -> Iterator[Path]:
        """Yield the direct paths that never worked, or no longer do."""
        return (path for path in self.direct() if not path.is_proven)

    def usable(self, now: float) -> list[Path]:
        """Return the paths that work as far as is known."""
        return [
            path for path in self if path.has_consent(now) and not path.is_doubted(now)
        ]

    def has_direct(self, now: float) -> bool:
        """Tell whether a direct path works as far as is known, without tunnels."""
        return any(path.is_direct for path in self.usable(now))

    def has_trusted(self, now: float) -> bool:
        """Tell whether a direct path is known to work now, without tunnels."""
        return any(path.is_direct and path.is_trusted(now) for path in self)

    def has_answering(self, now: float) -> bool:
        """Tell whether a direct path works, and no check of it is unanswered."""
        return self.has_trusted(now) or any(
            path.is_direct and path.has_consent(now) and path.waiting_since is None
            for path in self
        )

    def has_datagram_path(self, now: float) -> bool:
        """Tell whether a direct path works that is not a stream."""
        return any(
            path.is_direct and path.kind is not CandidateKind.TCP
            for path in self.usable(now)
        )

    def avoided(self, now: float) -> Path | None:
        """Return a direct path that works, but loses too much to be preferred."""
        poor = (path for path in self.usable(now) if path.score.poor)
        return next(poor, None)

    def reselect(self, now: float, active: bool) -> None:
        """Choose the path for data.

        :param active: whether there is traffic; without it, doubt changes nothing.
        """
        self._withdraw_consent(now)
        self._forget_lost(now)
        self._note_reliance(now)
        usable, current = self._contenders(now, active), self.selected
        best = current if current in usable else None
        if best is None and current is not None and not current.is_relayed:
            best = None if active else current
        for path in usable:
            if best is None or (path is not best and outranks(path.score, best.score)):
                best = path
        doubted = current is not None and current not in usable
        if best is None or (doubted and best.is_relayed):
            # A doubted direct path is not given up: both it and the relay are used.
            best = current or self.relay
        self.selected = best

    def endpoints(self, now: float) -> tuple[Endpoint, ...]:
        """Return where data goes: to two places while the first one is in doubt."""
        selected, relay = self.selected, self.relay
        if selected is None:
            return ()
        if selected.is_relayed or relay is None:
            return (selected.endpoint,)
        if selected.is_trusted(now) and not selected.carriage.is_poor:
            return (selected.endpoint,)
        return selected.endpoint, relay.endpoint

    def carrier(self, now: float) -> Path | None:
        """Return the path that data arrives by, as far as is known.

        While the selected path is in doubt, that is the relay.
        """
        selected, relay = self.selected, self.relay
        if selected is None or selected.is_relayed or relay is None:
            return selected
        return relay if selected.is_silent(now) else selected

    def plan(self, now: float, active: bool) -> None:
        """Plan the checks that keep paths open and their numbers fresh."""
        kept = self._kept(now, active)
        for path in self:
            interval = kept.get(path.endpoint)
            if interval is None:
                if path.is_proven and path.waiting_since is None:
                    path.rest()
                elif path.lost_at is not None and path.due is None and active:
                    path.check_by(now + LOST_RETRY)
            elif path.proven_at is not None and path.waiting_since is None:
                path.check_by(max(now, path.proven_at + interval))
            elif path.due is None:
                path.check_by(now + interval)

    def rest(self) -> None:
        """Plan no more checks."""
        for path in self:
            path.rest()

    def get_timer(self, now: float) -> float | None:
        """Return when a check is due, or the selected path loses its standing."""
        times = [path.due for path in self if path.due is not None]
        selected = self.selected
        if selected is not None and (due := selected.longest.get_timer()) is not None:
            times.append(due)
        if selected is not None and not selected.is_relayed:
            times += [when for when in selected.turning_points() if when > now]
        times += [when for path in self if (when := self._held_until(path)) > now]
        return min(times, default=None)

    def _contenders(self, now: float, active: bool) -> list[Path]:
        """Return the usable paths; with traffic, only direct ones known to work now.

        So a path that is suddenly silent is left for another that answers, before its
        own silence is long enough for a doubt.
        """
        usable = [path for path in self.usable(now) if self._may_serve(path, now)]
        trusted = [path for path in usable if path.is_trusted(now)]
        if active and any(path.score.tier == 0 for path in trusted):
            return trusted
        return usable

    def _may_serve(self, path: Path, now: float) -> bool:
        """Tell whether to use a path through another tunnel, if it is one.

        As long as there is a relay, it must be known to work apart from other paths,
        and be clearly faster than the relay, which such a tunnel may run over.
        """
        relay = self.relay
        if not path.is_tunnelled or relay is None:
            return True
        if path.is_late(now) or now < self._held_until(path):
            return False
        if not relay.has_consent(now) or relay.is_doubted(now):
            return True
        in_use = path is self.selected
        return is_worthwhile(path.score, relay.score, in_use=in_use)

    def _held_until(self, path: Path) -> float:
        """Return until when a path is not used because it may not be needed."""
        if not path.is_tunnelled or not path.is_proven:
            return float("-inf")
        return max(path.proven_since + PATIENCE, self._no_tunnel_before)

    def _note_reliance(self, now: float) -> None:
        """Notice the end of a direct path, which other tunnels may have run over."""
        selected, before = self.selected, self._relies_on
        is_relied_on = (
            selected is not None and selected.is_direct and selected.is_trusted(now)
        )
        self._relies_on = selected if is_relied_on else None
        if before is not None and not is_relied_on and not before.is_trusted(now):
            self._no_tunnel_before = now + PATIENCE
            for path in self:
                if path.is_tunnelled and path.is_proven:
                    path.check_by(now)

    def _kept(self, now: float, active: bool) -> dict[Endpoint, float]:
        """Return the endpoints to keep warm, each with the seconds between checks."""
        selected = self.selected
        if not active:
            idle = selected is not None and not selected.is_relayed
            return {selected.endpoint: KEEPALIVE} if selected and idle else {}
        usable = (path for path in self.usable(now) if not path.is_relayed)
        ranked = sorted(
            usable, key=lambda path: (path.score.reluctance, path.score.cost)
        )
        kept = {path.endpoint: ALTERNATE_HEARTBEAT for path in ranked[:ALTERNATES]}
        if self.relay is not None:
            proven = self.relay.is_proven
            kept[self.relay.endpoint] = ALTERNATE_HEARTBEAT if proven else RELAY_RETRY
        if selected is not None and selected.is_proven:
            kept[selected.endpoint] = HEARTBEAT
        return kept

    def _withdraw_consent(self, now: float) -> None:
        for path in list(self):
            if path.is_proven and not path.has_consent(now):
                path.give_up(now)
                if self.selected is path:
                    self.selected = None

    def _forget_lost(self, now: float) -> None:
        """Keep no more paths that worked once than are kept of those that do."""
        lost = [path for path in self.direct() if path.lost_at is not None]
        lost.sort(key=lambda path: path.lost_at or 0.0, reverse=True)
        for index, path in enumerate(lost):
            if index >= ALTERNATES or now >= (path.lost_at or 0.0) + LOST_PATIENCE:
                self.remove(path)

    def _evict(self, spare: Path) -> None:
        """Keep the table bounded, whatever the peer makes this node learn."""
        unproven = [path for path in self.unproven() if path is not spare]
        for path in unproven[: max(0, len(unproven) + 1 - UNPROVEN_LIMIT)]:
            self.remove(path)
