"""The members of the mesh as a relay sees them: by user name, and by address.

It is asked for each request at the relay, and the registry changes far less often. So
both sets are made anew after a change, from what is kept of each node.
"""

import json

from coordinator.credentials import user
from coordinator.mesh.nodes import Node
from coordinator.mesh.registry import Registry


class RelayUsers:
    """Knows members by what their relay sees of them.

    :param secret: what their credentials are minted with.
    :param anywhere: whether members may send to addresses of others.
    """

    def __init__(
        self, registry: Registry, secret: bytes, *, anywhere: bool = False
    ) -> None:
        self._registry = registry
        self._secret = secret
        self._anywhere = anywhere
        self._version = -1
        self._names: dict[str, str] = {}
        """Of members, by public key."""
        self._hosts_of: dict[str, tuple[str, frozenset[str]]] = {}
        """By public key: candidates as JSON, and the addresses in them."""
        self._users: frozenset[str] = frozenset()
        self._hosts: frozenset[str] = frozenset()

    def has_user(self, user: str) -> bool:
        """Return whether a member has this name at relays."""
        self._follow()
        return user in self._users

    def has_host(self, host: str) -> bool:
        """Return whether a member has said that it can be reached at this address."""
        self._follow()
        return self._anywhere or host in self._hosts

    def _follow(self) -> None:
        if self._version == self._registry.version:
            return
        self._version = self._registry.version
        members = [n for n in self._registry.nodes.values() if not n.expired]
        self._names = {node.key: self._name(node) for node in members}
        self._hosts_of = {node.key: self._addresses(node) for node in members}
        self._users = frozenset(self._names.values())
        self._hosts = frozenset().union(*(each for _, each in self._hosts_of.values()))

    def _name(self, node: Node) -> str:
        return self._names.get(node.key) or user(node.key, self._secret)

    def _addresses(self, node: Node) -> tuple[str, frozenset[str]]:
        known = self._hosts_of.get(node.key)
        if known is not None and known[0] == node.candidates:
            return known
        listed = json.loads(node.candidates)
        return node.candidates, frozenset(each["host"] for each in listed)
