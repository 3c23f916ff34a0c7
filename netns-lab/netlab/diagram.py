"""A topology as a picture.

The internet, or the bridge, is a bar across the drawing. Routers and what is behind
them are below it, hosts attached to it are above it; where there are only hosts, they
are below. Tunnels are dashed curves.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from netlab.svg import COLOURS, FAINT, INK, LINE, box, document, line, text
from netlab.topology import Site, Topology, Way

COLUMN, ROW = 132, 92
WIDTH, HEIGHT = 112, 46
MARGIN, BAR = 22, 34
DIP = 46
"""How far a way between neighbours dips below its ends."""

FILLS = {"router": "#fdf3e1", "host": "#e8f1fb", "switch": "#eef0f4"}
STROKES = {"router": "#d9a441", "host": "#5b8fc9", "switch": "#98a2b3"}


FIRST_SHIFT, LANE = 9, 5
"""The distance of ways from cables and from each other, so that none hides another."""
MIN_COLUMNS = 4
BAR_FILL = "#eef0f4"
RELAYED = "#7b8698"
"""Darker than in the heat map: a line is thin."""


@dataclass(frozen=True, slots=True)
class Place:
    """The middle of a box."""

    x: float
    y: float


def draw(topology: Topology, title: str) -> str:
    """Return the drawing as SVG."""
    root = topology.below(None)[0]
    plugged = topology.below(root.name)
    upper, lower = _halves(topology, plugged)
    columns = max(
        len(upper), sum(_columns(topology, site) for site in lower), MIN_COLUMNS
    )
    width = columns * COLUMN + 2 * MARGIN
    bar = MARGIN + (ROW if upper else 0)
    places: dict[str, Place] = {}
    _set_row(places, upper, width, MARGIN + HEIGHT / 2)
    _hang(places, topology, lower, width, bar + BAR + ROW / 2 + HEIGHT / 4)
    bottom = max([place.y for place in places.values()], default=bar) + HEIGHT / 2
    body = [_link(site, places, bar) for site in topology.sites]
    body += [
        line(places[site.name].x, places[site.name].y, places[each].x, places[each].y)
        for site in topology.sites
        for each in site.others
    ]
    body.append(_bar(width, bar))
    lanes = itertools.count()
    body += [_curve(way, places, bar, lanes) for way in topology.ways]
    body += _bar_name(root, bar)
    for site in topology.sites:
        if site.name in places:
            body += _box(site, places[site.name])
    return document(width, bottom + _room(topology, places) + MARGIN, body, title)


def _room(topology: Topology, places: dict[str, Place]) -> float:
    """Return the height that ways below the lowest boxes need."""
    lowest = max(place.y for place in places.values())
    ends = [{places[name].y for name in way.stops} for way in topology.ways]
    return DIP * 0.75 if {lowest} in ends else 0


def _halves(topology: Topology, plugged: list[Site]) -> tuple[list[Site], list[Site]]:
    """Return the sites above the bar, and those below it."""
    if all(site.kind == "host" and not topology.below(site.name) for site in plugged):
        return [], plugged
    upper = [
        site
        for site in plugged
        if site.kind == "host" and not topology.below(site.name)
    ]
    return upper, [site for site in plugged if site not in upper]


def _columns(topology: Topology, site: Site) -> int:
    return max(1, sum(_columns(topology, each) for each in topology.below(site.name)))


def _set_row(
    places: dict[str, Place], sites: list[Site], width: float, y: float
) -> None:
    step = width / (len(sites) or 1)
    for index, site in enumerate(sites):
        places[site.name] = Place(step * (index + 0.5), y)


def _hang(
    places: dict[str, Place],
    topology: Topology,
    sites: list[Site],
    width: float,
    y: float,
    left: float = 0.0,
) -> None:
    total = sum(_columns(topology, site) for site in sites) or 1
    for site in sites:
        share = width * _columns(topology, site) / total
        places[site.name] = Place(left + share / 2, y)
        _hang(places, topology, topology.below(site.name), share, y + ROW, left)
        left += share


def _link(site: Site, places: dict[str, Place], bar: float) -> str:
    """Return the line from a machine to what it is plugged into."""
    if site.uplink is None:
        return ""
    place = places[site.name]
    uplink = places.get(site.uplink, Place(place.x, bar + BAR / 2))
    return line(place.x, place.y, uplink.x, uplink.y)


def _bar(width: float, y: float) -> str:
    left = MARGIN
    return box(left, y, width - 2 * left, BAR, fill=BAR_FILL, stroke=LINE, radius=17)


def _bar_name(root: Site, y: float) -> list[str]:
    left = MARGIN + 18
    return [
        text(left, y + 15, root.name, bold=True, halo=BAR_FILL),
        text(left, y + 28, root.note, size=9.5, fill=FAINT, halo=BAR_FILL),
    ]


def _box(site: Site, place: Place) -> list[str]:
    x, y = place.x - WIDTH / 2, place.y - HEIGHT / 2
    fill, stroke = FILLS[site.kind], STROKES[site.kind]
    radius = 4 if site.kind == "router" else 10
    return [
        box(x, y, WIDTH, HEIGHT, fill=fill, stroke=stroke, radius=radius),
        text(place.x, place.y - 3, site.name, anchor="middle", bold=True, fill=INK),
        text(place.x, place.y + 13, site.note, anchor="middle", size=10, fill=FAINT),
    ]


def _curve(way: Way, places: dict[str, Place], bar: float, lanes: Iterator[int]) -> str:
    """Return a dashed line from stop to stop.

    :param lanes: numbers those that run beside the cables.
    """
    stops = [places[name] for name in way.stops]
    parts = [
        _arc(start, end) if start.y == end.y else _detour(start, end, bar, next(lanes))
        for start, end in itertools.pairwise(stops)
    ]
    stroke = COLOURS[way.style] if way.style != "relay" else RELAYED
    return (
        f'<path d="{" ".join(parts)}" fill="none" stroke="{stroke}" '
        'stroke-width="2" stroke-dasharray="6 4" stroke-linecap="round" '
        'stroke-linejoin="round"/>'
    )


def _arc(start: Place, end: Place) -> str:
    """Return a path below two boxes of one row."""
    y = start.y + HEIGHT / 2
    return (
        f"M {start.x:g} {y:g} C {start.x:g} {y + DIP:g} "
        f"{end.x:g} {y + DIP:g} {end.x:g} {y:g}"
    )


def _detour(start: Place, end: Place, bar: float, lane: int) -> str:
    """Return a path beside the cables, through the bar."""
    shift, middle = FIRST_SHIFT + LANE * lane, bar + LANE * (lane + 1.5)
    return (
        f"M {start.x + shift:g} {start.y:g} V {middle:g} "
        f"H {end.x + shift:g} V {end.y:g}"
    )
