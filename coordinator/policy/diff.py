"""What a new policy changes: who gains what, and who loses what.

Nodes that both policies treat alike are named together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordinator.policy.compile import Policy
from coordinator.policy.selectors import Subject
from meshwg.policy.ports import ANY, EVERYTHING, MAX_PORT, Ports

MAX_NAMED = 3
"""Nodes that are named of many that are alike."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What changes from some nodes to others."""

    sources: tuple[str, ...]
    """Names of nodes."""
    destinations: tuple[str, ...]
    gained: tuple[Ports, ...]
    lost: tuple[Ports, ...]


def differences(
    before: Policy | None, after: Policy, nodes: Iterable[Subject]
) -> list[Difference]:
    """Return what changes between the nodes of the mesh.

    :param before: ``None`` where everything was allowed.
    """
    alike = list(_alike(before, after, nodes).values())
    found = []
    for sources in alike:
        for destinations in alike:
            pair = _two_of(sources, destinations)
            if pair is None:
                continue
            old = _allowed(before, *pair)
            new = _allowed(after, *pair)
            gained, lost = _without(new, old), _without(old, new)
            if gained or lost:
                found.append(
                    Difference(_names(sources), _names(destinations), gained, lost)
                )
    return found


def names_label(names: Sequence[str]) -> str:
    """Return the names of nodes that are alike, few of many."""
    shown = ", ".join(names[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _alike(
    before: Policy | None, after: Policy, nodes: Iterable[Subject]
) -> dict[tuple[int, int, str], list[Subject]]:
    groups: dict[tuple[int, int, str], list[Subject]] = {}
    for each in nodes:
        old = 0 if before is None else before.class_of(each).number
        key = (old, after.class_of(each).number, each.user)
        groups.setdefault(key, []).append(each)
    return groups


def _two_of(
    sources: Sequence[Subject], destinations: Sequence[Subject]
) -> tuple[Subject, Subject] | None:
    """Return a node of each kind, two where they are of one kind, if there are."""
    if sources is not destinations:
        return sources[0], destinations[0]
    return (sources[0], sources[1]) if len(sources) > 1 else None


def _names(nodes: Sequence[Subject]) -> tuple[str, ...]:
    return tuple(sorted(each.name for each in nodes))


def _allowed(
    policy: Policy | None, source: Subject, destination: Subject
) -> tuple[Ports, ...]:
    """Return what one node may reach of another, without overlaps."""
    if policy is None:
        return (EVERYTHING,)
    ports = [
        each
        for rule in policy.document.allows
        if policy.is_source(rule, source)
        and policy.is_destination(rule, source, destination)
        for each in rule.ports
    ]
    return union(ports)


def union(ports: Iterable[Ports]) -> tuple[Ports, ...]:
    """Return the same ports without overlaps, in order."""
    merged: list[Ports] = []
    for each in sorted(ports):
        if each.protocol == ANY:
            return (EVERYTHING,)
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.protocol == each.protocol
            and each.first <= last.last + 1
        ):
            end = max(last.last, each.last)
            merged[-1] = Ports(each.protocol, last.first, end)
        else:
            merged.append(each)
    return tuple(merged)


def _without(ports: tuple[Ports, ...], other: tuple[Ports, ...]) -> tuple[Ports, ...]:
    """Return what is in some ports and not in others; both have no overlaps."""
    if ports == other or EVERYTHING in other:
        return ()
    if EVERYTHING in ports:
        return (EVERYTHING,)
    left = list(ports)
    for taken in other:
        left = [part for each in left for part in _cut(each, taken)]
    return tuple(left)


def _cut(ports: Ports, taken: Ports) -> list[Ports]:
    if (
        ports.protocol != taken.protocol
        or taken.last < ports.first
        or ports.last < taken.first
    ):
        return [ports]
    parts = []
    if ports.first < taken.first:
        parts.append(Ports(ports.protocol, ports.first, taken.first - 1))
    if taken.last < min(ports.last, MAX_PORT):
        parts.append(Ports(ports.protocol, taken.last + 1, ports.last))
    return parts
