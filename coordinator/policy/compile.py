"""What follows from a policy: the classes of nodes, and rules that name only those.

A node's *class* is the set of selectors that it matches. Rules on the wire name
classes, so a node that joins, roams or is renamed changes no rule: its entry in the
netmap says of which class it is. The number of a class follows from its selectors
alone, so it is the same in all coordinators, and in all versions of a policy.

A node is told the rules in which its class has a part, and of the nodes that it may
reach, or that may reach it. Who looks after the addresses behind a node has a part in
what names these.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from coordinator.policy.document import Allow, Approval, Document
from coordinator.policy.selectors import (
    HUB,
    MEMBER,
    PLAIN,
    Party,
    Selector,
    SelectorKind,
    Subject,
    is_behind,
)
from meshwg.prefixes import IPNetwork, is_within

ANY_CLASS = 0
"""Stands for all classes, and for all addresses behind nodes."""
HUB_LABEL = f"role:{HUB}"
"""Of the classes of hubs, whatever the rules name."""
PLAIN_LABEL = f"role:{PLAIN}"
"""Of the classes of plain WireGuard peers, likewise."""


@dataclass(frozen=True, slots=True)
class PolicyClass:
    """All nodes that a policy does not tell apart."""

    number: int
    labels: tuple[str, ...]
    """The selectors that they match, and their user if his own nodes matter."""
    user: str = ""
    """Whose own nodes they are, if that matters."""

    def __str__(self) -> str:
        return ", ".join(self.labels) or "nobody in particular"


@dataclass(frozen=True, slots=True)
class ClassRule:
    """A rule between classes, and prefixes behind them."""

    sources: tuple[int, ...]
    source_prefixes: tuple[str, ...]
    destinations: tuple[int, ...]
    destination_prefixes: tuple[str, ...]
    internet: bool
    """Whether destinations behind no node are meant as well."""
    ports: tuple[str, ...]
    note: str
    line: int
    from_parts: frozenset[int]
    """The classes that sources are of, or behind."""
    to_parts: frozenset[int]
    """The same of destinations."""


class Policy:
    """A policy whose names are all known.

    :param groups: the users in each group.
    """

    def __init__(
        self, document: Document, groups: Mapping[str, frozenset[str]]
    ) -> None:
        self.document = document
        self.groups = groups
        self._knows_own = any(
            each.kind is SelectorKind.SELF
            for rule in document.allows
            for each in rule.destinations
        )
        self._labels: dict[tuple[SelectorKind, str], list[str]] = {}
        """The texts of selectors, by the kind and name of what they match."""
        self._behind: list[Selector] = []
        """Those that are about addresses behind nodes."""
        for each in self._distinguishing():
            self._note(each)

    def _note(self, selector: Selector) -> None:
        """Find a selector by what it matches, since there are many, and many nodes."""
        if is_behind(selector):
            self._behind.append(selector)
            return
        kind, names = selector.kind, [selector.name]
        if kind is SelectorKind.GROUP:
            kind, names = SelectorKind.USER, sorted(self.groups.get(selector.name, ()))
        for name in names:
            self._labels.setdefault((kind, name), []).append(selector.text)

    def _distinguishing(self) -> tuple[Selector, ...]:
        """Return the selectors by which nodes are told apart, by their texts."""
        found = {
            each.text: each
            for rule in self.document.allows
            for each in (*rule.sources, *rule.destinations)
            if each.kind not in (SelectorKind.ANY, SelectorKind.SELF)
        }
        for label, role in ((HUB_LABEL, HUB), (PLAIN_LABEL, PLAIN)):
            found.setdefault(label, Selector(SelectorKind.ROLE, label, role))
        return tuple(found[text] for text in sorted(found))

    def class_of(self, subject: Subject) -> PolicyClass:
        """Return the class of a node."""
        marks = [(SelectorKind.NODE, subject.name), (SelectorKind.ROLE, subject.role)]
        marks += [(SelectorKind.TAG, tag) for tag in subject.tags]
        if subject.user:
            marks += [(SelectorKind.USER, subject.user), (SelectorKind.ROLE, MEMBER)]
        found = [text for mark in marks for text in self._labels.get(mark, ())]
        found += [each.text for each in self._behind if each.reaches_behind(subject)]
        user = subject.user if self._knows_own else ""
        return make_class(sorted(dict.fromkeys(found)), user)

    def allowing(
        self, source: Party, destination: Party, protocol: int, port: int
    ) -> Allow | None:
        """Return the first rule that lets somebody reach something.

        This is what all else must agree with.

        :param source: a node itself, or an address behind one.
        """
        return next(
            (
                rule
                for rule in self.document.allows
                if self.is_source(rule, source)
                and self.is_destination(rule, source, destination)
                and any(each.covers(protocol, port) for each in rule.ports)
            ),
            None,
        )

    def is_source(self, rule: Allow, source: Party) -> bool:
        """Tell whether a rule is for a source."""
        return any(each.matches(source, self.groups) for each in rule.sources)

    def is_destination(self, rule: Allow, source: Party, destination: Party) -> bool:
        """Tell whether a rule is about a destination, seen from a source."""
        return any(
            _is_own(source, destination)
            if each.kind is SelectorKind.SELF
            else each.matches(destination, self.groups)
            for each in rule.destinations
        )

    def approves(
        self, subject: Subject, route: IPNetwork, *, exactly: bool = False
    ) -> bool:
        """Tell whether a node may have a network behind it without being asked.

        :param exactly: whether the policy has to name just this network.
        """
        return any(
            route in approval.routes
            if exactly
            else any(is_within(route, each) for each in approval.routes)
            for approval in self._approvals_for(subject)
        )

    def approves_exit(self, subject: Subject) -> bool:
        """Tell whether a node may be an exit without being asked."""
        return any(approval.exits for approval in self._approvals_for(subject))

    def _approvals_for(self, subject: Subject) -> Iterator[Approval]:
        for approval in self.document.approvals:
            if any(each.matches(subject, self.groups) for each in approval.by):
                yield approval

    def may_put(self, tag: str, user: str) -> bool:
        """Tell whether a user may have a tag put on his nodes."""
        owners = self.document.tag_owners.get(tag)
        if owners is None:
            return True
        subject = Subject("", owner=user)
        return any(each.matches(subject, self.groups) for each in owners)


def make_class(labels: Iterable[str], user: str = "") -> PolicyClass:
    """Return the class of these selectors; its number follows from them."""
    listed = tuple(labels)
    text = "\n".join((user, *listed)).encode()
    digest = hashlib.blake2s(text, digest_size=6).digest()
    return PolicyClass(int.from_bytes(digest) or 1, listed, user)


class ClassTable:
    """A policy between the classes that there are.

    :param classes: all that nodes have, in any order.
    """

    def __init__(self, policy: Policy, classes: Iterable[PolicyClass]) -> None:
        unique = {each.number: each for each in classes}
        self.classes = {number: unique[number] for number in sorted(unique)}
        self._by_label: dict[str, list[int]] = {}
        for number, each in self.classes.items():
            for label in each.labels:
                self._by_label.setdefault(label, []).append(number)
        self.rules = tuple(
            rule
            for allow in policy.document.allows
            for rule in self._rules(allow)
            if rule.from_parts and rule.to_parts
        )
        self._hubs = frozenset(self._labelled((HUB_LABEL,)))
        self._plain = frozenset(self._labelled((PLAIN_LABEL,)))
        self._seen: dict[int, frozenset[int]] = {}
        self._parts: dict[int, list[int]] = {}
        """The places in the list of rules of those in which a class has a part."""
        for place, rule in enumerate(self.rules):
            for number in sorted(rule.from_parts | rule.to_parts):
                self._parts.setdefault(number, []).append(place)

    def rules_of(self, number: int) -> tuple[ClassRule, ...]:
        """Return the rules in which a class has a part.

        Hubs have a part in those of plain peers, too: they judge for these.
        """
        places = self._parts.get(number, [])
        if number in self._hubs:
            of_plain = (self._parts.get(each, []) for each in sorted(self._plain))
            places = sorted(dict.fromkeys(chain(places, *of_plain)))
        return tuple(self.rules[place] for place in places)

    def sees(self, number: int) -> frozenset[int]:
        """Return the classes whose nodes those of a class are told of.

        Hubs are told of all, and all of hubs: packets for others pass through them.
        Whom a class sees also sees that class.
        """
        seen = self._seen.get(number)
        if seen is None:
            known = number in self.classes
            seen = self._seen[number] = self._visible(number) if known else frozenset()
        return seen

    def _visible(self, number: int) -> frozenset[int]:
        if number in self._hubs:
            return frozenset(self.classes)
        found = set(self._hubs)
        for place in self._parts.get(number, ()):
            rule = self.rules[place]
            if number in rule.from_parts:
                found |= rule.to_parts
            if number in rule.to_parts:
                found |= rule.from_parts
        return frozenset(found)

    def _rules(self, allow: Allow) -> Iterator[ClassRule]:
        """Yield what one rule of the file is between classes."""
        sources = self._end(allow.sources)
        own = [each for each in allow.destinations if each.kind is SelectorKind.SELF]
        others = [each for each in allow.destinations if each not in own]
        if others:
            yield _rule(allow, sources, self._end(others))
        if own:
            for numbers in self._by_user().values():
                theirs = numbers
                if ANY_CLASS not in sources.numbers:
                    theirs = tuple(n for n in numbers if n in sources.numbers)
                yield _rule(allow, _End(theirs), _End(numbers))

    def _by_user(self) -> dict[str, tuple[int, ...]]:
        """Return the classes of each user's own nodes."""
        users: dict[str, tuple[int, ...]] = {}
        for number, each in self.classes.items():
            if each.user:
                users[each.user] = (*users.get(each.user, ()), number)
        return users

    def _end(self, selectors: Sequence[Selector]) -> "_End":
        """Return what selectors are about."""
        prefixes = tuple(str(each.network) for each in selectors if each.network)
        internet = any(each.kind is SelectorKind.INTERNET for each in selectors)
        if any(each.kind is SelectorKind.ANY for each in selectors):
            return _End((ANY_CLASS,), prefixes, internet, frozenset(self.classes))
        behind = [each.text for each in selectors if is_behind(each)]
        texts = [each.text for each in selectors if not is_behind(each)]
        return _End(
            self._labelled(texts), prefixes, internet, frozenset(self._labelled(behind))
        )

    def _labelled(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Return the classes that have one of these labels."""
        found = (number for text in texts for number in self._by_label.get(text, ()))
        return tuple(sorted(dict.fromkeys(found)))


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a rule."""

    numbers: tuple[int, ...]
    prefixes: tuple[str, ...] = ()
    internet: bool = False
    routers: frozenset[int] = frozenset()
    """The classes of nodes with such addresses behind them."""

    @property
    def parts(self) -> frozenset[int]:
        return self.routers.union(self.numbers) - {ANY_CLASS}


def _rule(allow: Allow, source: _End, destination: _End) -> ClassRule:
    return ClassRule(
        source.numbers,
        source.prefixes,
        destination.numbers,
        destination.prefixes,
        destination.internet,
        tuple(map(str, allow.ports)),
        allow.note,
        allow.line,
        source.parts,
        destination.parts,
    )


def _is_own(source: Party, destination: Party) -> bool:
    """Tell whether both are nodes of one user."""
    return (
        isinstance(source, Subject)
        and isinstance(destination, Subject)
        and bool(source.user)
        and source.user == destination.user
    )
