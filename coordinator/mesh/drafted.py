"""The members as a transaction is about to leave them."""

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

from coordinator.mesh.nodes import Node
from coordinator.mesh.registry import Registry
from coordinator.policy.compile import Policy


class DraftedMembers:
    """A registry with the changes of a draft laid over it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.networks = registry.networks
        self.version = registry.version + 1
        """The version that changed nodes get."""
        self.nodes: dict[str, Node] = {}
        """Changed nodes by key."""
        self.removed: dict[str, None] = {}
        """Keys of removed nodes, in order."""
        self.admitted: dict[str, None] = {}
        """Keys of nodes that were not members before, in order."""
        self.policy: Policy | None = None
        """By which nodes have classes."""
        if registry.policy is not None:
            self.policy = registry.policy.policy
        self.reclassed = False
        """Whether a node that was there has another class now."""
        self._names: dict[str, str] = {}
        self._numbers: dict[int, str] = {}

    @property
    def taken_numbers(self) -> Container[int]:
        """Numbers that cannot be given away in this transaction."""
        return _Taken(self._registry.numbers, self._numbers)

    def holder(self, number: int) -> str | None:
        """Return the key of the node with a number."""
        return self._numbers.get(number) or self._registry.numbers.get(number)

    def names_taken_by_others(self, key: str) -> Container[str]:
        """Return the names that a node cannot get in this transaction."""
        return _Taken(self._registry.names, self._names, key)

    def get(self, key: str) -> Node | None:
        """Return a node by its public key."""
        if key in self.removed:
            return None
        return self.nodes.get(key) or self._registry.nodes.get(key)

    def find(self, node: str) -> Node | None:
        """Return a node by its name or its public key."""
        key = self._names.get(node) or self._registry.names.get(node, node)
        found = self.get(key)
        return found if found is not None and node in (found.name, key) else None

    def all(self) -> list[Node]:
        """Return all members; the list does not follow later changes."""
        unchanged = (
            node
            for key, node in self._registry.nodes.items()
            if key not in self.nodes and key not in self.removed
        )
        return [*unchanged, *self.nodes.values()]

    def admit(self, key: str) -> None:
        """Let a key in that is not a member's; :meth:`put` its node next."""
        # A key that was removed in this transaction is a member's again.
        self.removed.pop(key, None)
        self.admitted[key] = None

    def put(self, node: Node) -> Node:
        """Keep a node as it is now; return it with the version that its change gets."""
        known = self.get(node.key)
        number = 0
        if self.policy is not None:
            number = self.policy.class_of(node.subject).number
        if node.policy_class != number:
            node = replace(node, policy_class=number)
        if known == node:
            return node
        self.reclassed |= known is not None and known.policy_class != number
        if known is None or known.seen_by_peers() != node.seen_by_peers():
            node = replace(node, version=self.version)
        node = replace(node, revision=self.version)
        self._forget(node.key)
        self.nodes[node.key] = node
        self._names[node.name] = self._numbers[node.number] = node.key
        return node

    def remove(self, node: Node) -> None:
        """End the membership of a node."""
        self._forget(node.key)
        self.admitted.pop(node.key, None)
        if node.key in self._registry.nodes:
            self.removed[node.key] = None

    def _forget(self, key: str) -> None:
        """Drop what this draft has changed of a node."""
        node = self.nodes.pop(key, None)
        if node is not None:
            del self._names[node.name], self._numbers[node.number]


class _Taken:
    """Names, or numbers, that are taken until the transaction has ended.

    What a node gives up in a transaction is free only after it, so the order in which
    rows are written never matters to the database's uniqueness rules.

    :param own: the key of a node whose own name, or number, does not count.
    """

    def __init__(
        self, committed: Mapping[Any, str], drafted: Mapping[Any, str], own: str = ""
    ) -> None:
        self._committed, self._drafted = committed, drafted
        self._own = own

    def __contains__(self, value: object) -> bool:
        holders = self._committed.get(value), self._drafted.get(value)
        return any(holder not in (None, self._own) for holder in holders)
