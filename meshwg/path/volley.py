"""What prediction and birthday send, and when: pure lists of shots.

A *fan* sends from many sockets to one endpoint, or to one at each address of the
peer's NAT. The first wave has a low TTL: it opens the fan's own NAT and dies on the
way, because a packet that reached the peer's NAT too early could make it take the flow
for a foreign one. Later waves go all the way, which opens outer NATs and makes up for
losses; where the first wave was not enough, they meet the holes that the prober's
checks have made in the prober's NAT by then.

A *prober* sends from one socket to many ports.

Two fresh sockets (:func:`meet`) send to each other.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from meshwg.path.punch import BIRTHDAY_PROBES, PROBE_INTERVAL, random_ports
from meshwg.transmit import UDP, Endpoint, Random

OPENER_TTL = 2
"""Enough to pass the first NAT, and not to come out at the other end."""

BIRTHDAY_WAVES: tuple[float, ...] = (0.0, 1.2, 2.7)
"""Seconds at which a fan sends: before the probes, and after each volley of them."""

GROWTH_WAVES: tuple[float, ...] = (2.35, 3.15)
"""Seconds at which the sockets send that a fan keeps back where it does not know how
many flows its NAT has room for. They meet the holes that both volleys have made in the
prober's NAT, so they help as much as if they had been there before."""

EARLY_GROWTH_WAVES: tuple[float, ...] = (0.8, 1.2, 2.7)
"""The same for a fan whose NAT filters by address: a prober that has a mapping for each
probe leaves no holes, so only what it sends later helps."""

BIRTHDAY_VOLLEYS: tuple[float, ...] = (0.0, 1.15)
"""Seconds at which a prober sends its probes. The second volley tries other ports,
after the answers to the first had their time, against the mappings that are there."""

PREDICTION_WAVES: tuple[float, ...] = (0.0, 0.2, 0.6, 1.2, 2.4)
PREDICTION_PASSES = (0.05, 0.3, 0.8, 1.6)
"""Seconds at which a prober tries all predicted ports."""

FRESH_OPENINGS = (0.0, 0.02, 0.04)
FRESH_WAVES = (0.06, 0.16, 0.36, 0.76, 1.56)
FRESH_LEAD = 1.0
"""Seconds at which a fresh socket opens its NAT, and checks. The side that knows both
endpoints first only opens its NAT, and leaves the first check to the other side, which
may send as soon as it knows them, too: so no check comes before the way is open."""

FRESH_DURATION = 3.5
BIRTHDAY_DURATION = 4.5
PREDICTION_DURATION = 4.0
"""Seconds after which an attempt has failed."""


OPENING = 0.5
"""Seconds that the message may take on which the peer begins, at most."""


class Shot(NamedTuple):
    """One check of a volley."""

    when: float
    endpoint: Endpoint
    ttl: int | None = None


def fan(
    links: Sequence[int],
    targets: Sequence[Endpoint],
    waves: Iterable[float],
    now: float,
) -> list[Shot]:
    """Return checks from every socket to every target, in waves.

    Those that leave before the peer is sure to have begun die on the way.
    """
    flows = [target._replace(link=link) for target in targets for link in links]
    return [
        Shot(
            now + wave + index * PROBE_INTERVAL,
            flow,
            OPENER_TTL if wave < OPENING else None,
        )
        for wave in waves
        for index, flow in enumerate(flows)
    ]


def meet(endpoint: Endpoint, now: float, *, leads: bool) -> list[Shot]:
    """Return checks from one fresh socket to another.

    :param leads: whether the peer learns the endpoints later than this node.
    """
    lead = FRESH_LEAD if leads else 0.0
    openings = [Shot(now + at, endpoint, OPENER_TTL) for at in FRESH_OPENINGS]
    return openings + [Shot(now + lead + at, endpoint) for at in FRESH_WAVES]


def sweep(host: str, ports: Sequence[int], now: float, link: int = UDP) -> list[Shot]:
    """Return checks to a few ports, several times each."""
    return [
        Shot(now + start + index * PROBE_INTERVAL, Endpoint(host, port, link))
        for start in PREDICTION_PASSES
        for index, port in enumerate(ports)
    ]


def scatter(
    hosts: Sequence[str],
    random: Random,
    now: float,
    volleys: int = 1,
    link: int = UDP,
) -> list[Shot]:
    """Return checks to many random ports, once each; several hosts take turns."""
    starts = BIRTHDAY_VOLLEYS[:volleys]
    ports = random_ports(random, BIRTHDAY_PROBES * len(starts))
    return [
        Shot(
            now + start + index * PROBE_INTERVAL,
            Endpoint(hosts[index % len(hosts)], next(ports), link),
        )
        for start in starts
        for index in range(BIRTHDAY_PROBES)
    ]
