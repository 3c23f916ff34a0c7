"""The rules by which the mesh changes.

:class:`~coordinator.mesh.registry.Registry` is what the database says, as of one
version. A transaction makes a :class:`Draft` of it, performs operations on that, writes
what they changed, and only after the commit applies the same changes to the registry.
So a failed transaction leaves no trace, and several coordinators on one database decide
one after the other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.ipam import allocate
from coordinator.mesh.nodes import Node, free_name, to_label
from coordinator.mesh.operations import (
    Accepted,
    Bury,
    Changes,
    Disconnect,
    Expire,
    Join,
    Operation,
    Refused,
    Remove,
    Rename,
    Result,
    Sweep,
    Update,
)
from coordinator.mesh.registry import Registry
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText

EPHEMERAL_GRACE = 300.0
"""Seconds that an ephemeral node may be away without having said that it leaves."""
ROLES = ("node", "hub")

_REFUSALS = {
    ErrorCode.TOKEN_UNKNOWN: "This coordinator has not made this join token",
    ErrorCode.TOKEN_EXPIRED: "This join token has expired",
    ErrorCode.TOKEN_USED: "This join token was for one node, and has been used",
    ErrorCode.TOKEN_REVOKED: "This join token has been revoked",
}
_MEND = "; ask for a new one ('meshwg-coordinator token create')"


class Draft:
    """What one transaction is about to change.

    :param auth_keys: those that the operations mention, by number.
    :param approved_routes: networks inside which nodes may announce routes.
    """

    def __init__(
        self,
        registry: Registry,
        auth_keys: Mapping[str, AuthKey],
        *,
        unix_time: float,
        random: Random,
        approved_routes: Iterable[str] = (),
    ) -> None:
        self._registry = registry
        self._auth_keys = dict(auth_keys)
        self._unix_time = unix_time
        self._random = random
        self._approved_routes = [ip_network(route) for route in approved_routes]
        self.version = registry.version + 1
        self.nodes: dict[str, Node] = {}
        """Changed nodes by key."""
        self.removed: dict[str, None] = {}
        """Keys of removed nodes, in order."""
        self.admitted: dict[str, None] = {}
        """Keys of nodes that were no members before, in order."""
        self.spent: dict[str, AuthKey] = {}
        """Changed auth keys by number."""
        self._names: dict[str, str] = {}
        self._numbers: dict[int, str] = {}
        self._taken_names = _Taken(registry.names, self._names)
        self._taken_numbers = _Taken(registry.numbers, self._numbers)

    @property
    def changes(self) -> Changes:
        """What to apply to the registry after the commit."""
        changed = bool(self.nodes or self.removed)
        version = self.version if changed else self._registry.version
        return Changes(version, tuple(self.nodes.values()), tuple(self.removed))

    def perform(self, operation: Operation) -> Result:
        """Decide one operation."""
        return self._HANDLERS[type(operation)](self, operation)

    # Joining.

    def _join(self, join: Join) -> Result:
        known = self._get(join.key)
        if known is not None and not known.expired:
            return self._welcome(known, join)
        if join.auth_key is None:
            return self._refuse_stranger(known)
        checked = self._check_auth_key(join.auth_key)
        if isinstance(checked, Refused):
            return checked
        if known is not None:
            again = replace(known, ephemeral=checked.ephemeral)
            result: Result = self._welcome(again, join)
        else:
            result = self._admit(join, checked)
        if isinstance(result, Accepted):
            spent = checked.spend(self._unix_time)
            self._auth_keys[spent.number] = self.spent[spent.number] = spent
        return result

    @staticmethod
    def _refuse_stranger(known: Node | None) -> Refused:
        if known is not None:
            return Refused(
                ErrorCode.NODE_EXPIRED,
                f"The membership of {known.name} has expired; join again with a new "
                "token",
            )
        return Refused(
            ErrorCode.NOT_A_MEMBER,
            "This node is no member of the mesh; join with a token",
        )

    def _check_auth_key(self, text: str) -> AuthKey | Refused:
        try:
            clear = AuthKeyText.parse(text)
        except ValueError:
            return _refuse_token(ErrorCode.TOKEN_UNKNOWN)
        key = self._auth_keys.get(clear.number)
        if key is None:
            return _refuse_token(ErrorCode.TOKEN_UNKNOWN)
        code = key.refusal(clear.secret, self._unix_time)
        return key if code is None else _refuse_token(code)

    def _admit(self, join: Join, auth_key: AuthKey) -> Result:
        number = allocate(self._registry.networks, self._taken_numbers, self._random)
        if number is None:
            return Refused(
                ErrorCode.MESH_FULL,
                "The mesh has no address left; remove nodes that are gone",
            )
        node = Node(
            key=join.key,
            name="",
            requested_name="",
            number=number,
            ephemeral=auth_key.ephemeral,
            joined=self._unix_time,
        )
        # A key that was removed in this transaction is back in it.
        self.removed.pop(join.key, None)
        self.admitted[join.key] = None
        return self._welcome(node, join)

    def _welcome(self, node: Node, join: Join) -> Accepted:
        label = to_label(join.name)
        name = node.name
        if label != node.requested_name:
            name = free_name(label, self._taken_names.except_of(node.key))
        node = replace(
            node,
            name=name,
            requested_name=label,
            role=join.role if join.role in ROLES else "node",
            routes=self._approve(join.routes),
            candidates=join.candidates,
            nat=join.nat,
            online=True,
            expired=False,
            home=join.home,
            session=join.session,
            seen=self._unix_time,
        )
        return Accepted(self._put(node), _notice(label, node))

    def _approve(self, routes: Iterable[str]) -> tuple[str, ...]:
        """Return the routes that lie inside an approved network.

        A route to everything is none: it would lead the nodes' own datagrams into
        their tunnels, also where an administrator approves whatever nodes announce.
        """
        parsed = sorted({ip_network(route) for route in routes}, key=str)
        return tuple(
            str(route)
            for route in parsed
            if route.prefixlen > 0
            and any(_inside(route, approved) for approved in self._approved_routes)
        )

    # Members.

    def _update(self, update: Update) -> Result:
        node = self._get(update.key)
        if node is None:
            return _unknown(update.key)
        node = replace(node, candidates=update.candidates, nat=update.nat)
        return Accepted(self._put(node))

    def _disconnect(self, gone: Disconnect) -> Result:
        node = self._get(gone.key)
        if node is None or node.session != gone.session:
            return Accepted(node)
        if node.ephemeral and gone.left:
            return self._drop(node)
        return Accepted(self._put(replace(node, online=False, seen=self._unix_time)))

    def _bury(self, bury: Bury) -> Result:
        for node in self._all():
            if node.online and node.home in bury.homes:
                self._put(replace(node, online=False, seen=self._unix_time))
        return Accepted()

    def _sweep(self, _: Sweep) -> Result:
        for node in self._all():
            away = self._unix_time - node.seen > EPHEMERAL_GRACE
            if node.ephemeral and not node.online and away:
                self._drop(node)
        return Accepted()

    # Administration.

    def _rename(self, rename: Rename) -> Result:
        node = self._find(rename.node)
        if node is None:
            return _unknown(rename.node)
        label = to_label(rename.name)
        holder = self._find(label)
        if holder is not None and holder.key != node.key:
            return Refused(
                ErrorCode.MALFORMED,
                f"The name {label} belongs to another node; choose another one",
            )
        return Accepted(self._put(replace(node, name=label)))

    def _expire(self, expire: Expire) -> Result:
        node = self._find(expire.node)
        if node is None:
            return _unknown(expire.node)
        return Accepted(self._put(replace(node, expired=True, online=False)))

    def _remove(self, remove: Remove) -> Result:
        node = self._find(remove.node)
        return _unknown(remove.node) if node is None else self._drop(node)

    # The registry with the changes of this draft laid over it.

    def _get(self, key: str) -> Node | None:
        if key in self.removed:
            return None
        return self.nodes.get(key) or self._registry.nodes.get(key)

    def _find(self, node: str) -> Node | None:
        """Return a node by its name or its public key."""
        key = self._names.get(node) or self._registry.names.get(node, node)
        found = self._get(key)
        return found if found is not None and node in (found.name, key) else None

    def _all(self) -> list[Node]:
        unchanged = (
            node
            for key, node in self._registry.nodes.items()
            if key not in self.nodes and key not in self.removed
        )
        return [*unchanged, *self.nodes.values()]

    def _put(self, node: Node) -> Node:
        """Keep a changed node, with the version that its change deserves."""
        known = self._get(node.key)
        if known == node:
            return node
        if known is None or known.seen_by_peers() != node.seen_by_peers():
            node = replace(node, version=self.version)
        node = replace(node, revision=self.version)
        self._unlist(node.key)
        self.nodes[node.key] = node
        self._names[node.name] = self._numbers[node.number] = node.key
        return node

    def _drop(self, node: Node) -> Accepted:
        self._unlist(node.key)
        if node.key in self._registry.nodes:
            self.removed[node.key] = None
        return Accepted(node)

    def _unlist(self, key: str) -> None:
        node = self.nodes.pop(key, None)
        if node is not None:
            del self._names[node.name], self._numbers[node.number]

    _HANDLERS: Mapping[type[Operation], Callable[..., Result]] = {
        Join: _join,
        Update: _update,
        Disconnect: _disconnect,
        Bury: _bury,
        Sweep: _sweep,
        Rename: _rename,
        Expire: _expire,
        Remove: _remove,
    }


class _Taken:
    """Names, or numbers, that cannot be given away in this transaction.

    What a node gives up in a transaction is free only after it: so the order in which
    rows are written never matters to the database's uniqueness rules.
    """

    def __init__(
        self, committed: Mapping[Any, str], drafted: Mapping[Any, str]
    ) -> None:
        self._committed, self._drafted = committed, drafted
        self._own = ""

    def except_of(self, key: str) -> "_Taken":
        """Return the same set without what this node holds itself."""
        taken = _Taken(self._committed, self._drafted)
        taken._own = key
        return taken

    def __contains__(self, value: object) -> bool:
        holders = self._committed.get(value), self._drafted.get(value)
        return any(holder not in (None, self._own) for holder in holders)


def _inside(
    route: IPv4Network | IPv6Network, approved: IPv4Network | IPv6Network
) -> bool:
    if route.version != approved.version or route.prefixlen < approved.prefixlen:
        return False
    host_bits = approved.max_prefixlen - approved.prefixlen
    difference = int(route.network_address) ^ int(approved.network_address)
    return difference >> host_bits == 0


def _notice(label: str, node: Node) -> str:
    if node.name == label:
        return ""
    return (
        f"This node is called {node.name} in the mesh: {label} belongs to another, "
        "or the node was renamed"
    )


def _unknown(node: str) -> Refused:
    return Refused(
        ErrorCode.UNKNOWN_PEER,
        f"There is no node {node}; 'meshwg-coordinator node list' shows all",
    )


def _refuse_token(code: ErrorCode) -> Refused:
    return Refused(code, _REFUSALS[code] + _MEND)
