"""Whether the ways to a peer answer below IP, for whoever asks now.

An echo request asks for all at once: the way, the tunnel, and the far system, whose
firewall may drop it. A check ends in the peer's node, so it is answered where only that
firewall is in the way; and the answer says whether the tunnel's packets arrive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from meshwg.path.table import PathTable
from meshwg.transmit import Endpoint

TELLING = (0.0, 0.15, 0.4, 0.9)
"""Seconds at which checks are sent that have news, until one is answered."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """What became of the checks of one path."""

    kind: str
    """``direct`` or ``relay``."""
    method: str
    remote: Endpoint
    answered: bool
    carries: bool
    """Whether packets of the tunnel have arrived this way, as the peer says."""
    fails: bool
    """Whether it is known to carry checks, and not the tunnel."""
    rtt: float | None
    """Seconds."""


def sound(table: PathTable, now: float) -> None:
    """Check every path that ever worked, and the relay, now."""
    for path in list(table):
        if path.is_relayed or path.is_proven:
            path.check_by(now)


def tell(table: PathTable, now: float) -> bool:
    """Check every path that may work several times: checks have news for the peer.

    :returns: whether there is one.
    """
    paths = [path for path in table if path.has_consent(now)]
    for path in paths:
        path.burst(now, TELLING)
    return bool(paths)


def soundings(table: PathTable, since: float) -> tuple[Sounding, ...]:
    """Return what became of the paths since some time, direct ones first."""
    return tuple(
        Sounding(
            kind="relay" if path.is_relayed else "direct",
            method=path.kind.value,
            remote=path.endpoint.unpinned(),
            answered=path.proven_at is not None and path.proven_at >= since,
            carries=path.carriage.carried_at >= since,
            fails=path.carriage.is_poor,
            rtt=path.statistics.rtt,
        )
        for path in sorted(table, key=lambda path: path.is_relayed)
        if path.is_relayed or path.is_proven
    )


def verdict(soundings: Sequence[Sounding]) -> str:
    """Return in a sentence why an echo request may be without an answer."""
    answered = [each for each in soundings if each.answered]
    if not soundings:
        return "There is no path to the peer yet."
    if not answered:
        return (
            "No path answers below IP either: the peer is away, or the network on the "
            "way is down."
        )
    if all(each.fails for each in answered):
        return (
            "The path answers checks but does not carry the tunnel's packets: "
            "something on the way drops them."
        )
    best = next((each for each in answered if each.kind == "direct"), answered[0])
    arrive = any(each.carries for each in answered)
    packets = ", and the tunnel's packets arrive there" if arrive else ""
    return (
        f"The {_NAMES[best.kind]} answers below IP{packets}, so it is good: a firewall "
        "on the peer's own system drops echo requests, or their answers."
    )


_NAMES = {"direct": "direct path", "relay": "path through the relay"}
