"""What the nodes of each class see of the mesh.

Without a policy all see all, and there is one view. With one, all nodes of a class see
the same nodes, so there is one history of netmaps for each class, made when the first
of its nodes asks: what is made once is still sent to many. A change costs as much as
there are classes that see it: who sees a class is whom that class sees.
"""

import hashlib
from collections.abc import Container
from dataclasses import dataclass, replace

from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.registry import Registry
from coordinator.policy.compile import ClassRule, ClassTable
from meshwg.wire import control

NO_VIEW = ""


@dataclass(frozen=True, slots=True)
class View:
    """What the nodes of a class are told.

    :ivar seen: names the classes that are seen; a netmap is as of one of these.
    :ivar digest: names the policy as it is told, with :attr:`seen` before it.
    :ivar policy: the message that tells it, as payload; empty without a policy.
    """

    history: NetMapHistory
    classes: frozenset[int] = frozenset()
    seen: str = NO_VIEW
    digest: str = NO_VIEW
    policy: bytes = b""
    sees_itself: bool = True


@dataclass(frozen=True, slots=True)
class Audience:
    """Who sees a difference.

    :ivar everybody: all nodes.
    :ivar classes: if not, the numbers of the classes whose nodes see one.
    """

    everybody: bool = False
    classes: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return self.everybody or bool(self.classes)


class Views:
    """The views of all classes, which follow the registry.

    :param everybody: the history of the whole mesh.
    """

    def __init__(self, registry: Registry, everybody: NetMapHistory) -> None:
        self._registry = registry
        self._everybody = View(everybody)
        self._views: dict[int, View] = {}
        self._table = registry.classes

    def apply(self, changes: Changes) -> Audience:
        """Take committed changes over, which the registry has already.

        :return: who sees a difference.
        """
        everybody, table = self._everybody.history, self._registry.classes
        before = self._classes_of(changes) if table is not None else {}
        has_news = everybody.apply(changes)
        if self._table is not table:
            known = () if self._table is None else self._table.classes
            self._table = table
            self._renew(known)
            for view in self._views.values():
                view.history.apply(_seen_of(changes, view.classes))
            return Audience(everybody=True)
        if table is None:
            return Audience(everybody=has_news)
        told = self._parts(changes, before, table)
        return Audience(
            classes=tuple(n for n, part in told.items() if self._apply(n, part))
        )

    def _classes_of(self, changes: Changes) -> dict[str, int]:
        """Return the classes that changed nodes had before."""
        everybody = self._everybody.history
        keys = (*(node.key for node in changes.nodes), *changes.removed)
        nodes = ((key, everybody.node(key)) for key in keys)
        return {key: node.policy_class for key, node in nodes if node is not None}

    def _parts(
        self, changes: Changes, before: dict[str, int], table: ClassTable
    ) -> dict[int, Changes]:
        """Return what concerns each class of some changes."""
        seen: dict[int, list[Node]] = {}
        gone: dict[int, list[str]] = {}
        for node in changes.nodes:
            viewers = table.sees(node.policy_class)
            for number in sorted(viewers):
                seen.setdefault(number, []).append(node)
            for number in sorted(table.sees(before.get(node.key, 0)) - viewers):
                gone.setdefault(number, []).append(node.key)
        for key in changes.removed:
            for number in sorted(table.sees(before.get(key, 0))):
                gone.setdefault(number, []).append(key)
        return {
            number: Changes(
                changes.version,
                tuple(seen.get(number, ())),
                tuple(gone.get(number, ())),
            )
            for number in (*seen, *(each for each in gone if each not in seen))
        }

    def _apply(self, number: int, changes: Changes) -> bool:
        """Let nodes of a class see some changes; tell whether there are any to see."""
        view = self._views.get(number)
        return view is not None and view.history.apply(changes)

    def of(self, key: str) -> View:
        """Return the view of a node."""
        node, table = self._registry.nodes.get(key), self._table
        if table is None or node is None:
            return self._everybody
        view = self._views.get(node.policy_class)
        if view is None:
            view = self._views[node.policy_class] = self._make(node.policy_class, table)
        return view

    def itself(self, key: str) -> Node | None:
        """Return a node that is not in the netmap of its own class."""
        node = self._registry.nodes.get(key)
        return None if node is None or self.of(key).sees_itself else node

    def entry(self, node: Node) -> bytes:
        """Return the message that tells a node of itself, as payload."""
        fragment = node.peer_json(self._registry.networks)
        return control.pack(b'{"type":"itself","peer":%s}' % fragment)

    def _renew(self, known: Container[int]) -> None:
        """Make views anew; a history stays where the same nodes are seen as before.

        :param known: the classes that there were. Nodes of others are news to all.
        """
        before, self._views = self._views, {}
        table = self._table
        if table is None:
            return
        for number, view in before.items():
            added = table.sees(number) - view.classes
            is_same = view.classes <= table.sees(number)
            if is_same and not any(each in known for each in sorted(added)):
                self._views[number] = self._make(number, table, view.history)

    def _make(
        self, number: int, table: ClassTable, history: NetMapHistory | None = None
    ) -> View:
        registry, everybody = self._registry, self._everybody.history
        classes = table.sees(number)
        if history is None:
            history = NetMapHistory(registry.networks, everybody)
            nodes = [n for n in registry.nodes.values() if n.policy_class in classes]
            floor = max(everybody.floor, registry.reclassed)
            history.load(nodes, everybody.tombstones, floor)
        seen = _digest(",".join(map(str, sorted(classes))).encode())
        message = self._message(number, table)
        digest = f"{seen}.{_digest(control.to_json(message))}"
        policy = control.encode(replace(message, view=digest))
        return View(history, classes, seen, digest, policy, number in classes)

    def _message(self, number: int, table: ClassTable) -> control.PolicyMessage:
        """Return the policy as far as it concerns a class."""
        assert self._registry.policy is not None
        record = self._registry.policy.record
        rules = table.rules_of(number)
        named = {number: None}
        for rule in rules:
            named |= dict.fromkeys((*rule.sources, *rule.destinations))
        known = [table.classes[each] for each in sorted(named) if each in table.classes]
        return control.PolicyMessage(
            version=record.version,
            sha256=record.sha256,
            own=number,
            classes=tuple(
                control.NamedClass(number=each.number, labels=each.labels)
                for each in known
            ),
            rules=tuple(map(_on_wire, rules)),
        )


def _on_wire(rule: ClassRule) -> control.PolicyRule:
    return control.PolicyRule(
        sources=rule.sources,
        source_prefixes=rule.source_prefixes,
        destinations=rule.destinations,
        destination_prefixes=rule.destination_prefixes,
        internet=rule.internet,
        ports=rule.ports,
        line=rule.line,
        note=rule.note,
    )


def _seen_of(changes: Changes, classes: frozenset[int]) -> Changes:
    """Return those of some changes that are seen, and what is seen no more."""
    seen, gone = [], []
    for node in changes.nodes:
        if node.policy_class in classes:
            seen.append(node)
        else:
            gone.append(node.key)
    return Changes(changes.version, tuple(seen), (*changes.removed, *gone))


def _digest(text: bytes) -> str:
    return hashlib.blake2s(text, digest_size=8).hexdigest()
