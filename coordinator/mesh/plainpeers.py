"""Plain WireGuard peers: phones and routers, which run no meshwg.

A plain peer is a member with the role *plain*: it has a name, addresses, an owner, tags
and a class as nodes have. It has one tunnel, to its *hub*, and packets between it and
others pass there. So a hub is needed that can be reached from outside, and whoever adds
a peer is told why one cannot be.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.endpoints import Unreachable, endpoint_for
from coordinator.mesh.ipam import allocate
from coordinator.mesh.nodes import Node, to_label
from coordinator.mesh.operations import Accepted, AddPeer, Refused, Result
from coordinator.mesh.registry import Registry
from coordinator.policy.selectors import HUB, PLAIN
from meshwg.keys import parse_key
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode

TOKEN_BYTES = 18
"""Random bytes of the secret with which a router fetches its configuration."""

NO_HUB = (
    "There is no hub, and a plain WireGuard peer needs one: start a node with --hub on "
    "a machine that can be reached from outside, and approve it with "
    "'meshwg-coordinator node approve NAME --hub'"
)
NO_EXIT = (
    "{hub} is not an approved exit, so it has no internet to give: start it with "
    "--exit, approve that with 'meshwg-coordinator route approve {hub} exit', or leave "
    "--full-tunnel out"
)
IN_USE = (
    "A member is called {name} already: choose another name, or remove it first with "
    "'meshwg-coordinator {kind} remove {name}'"
)


class PlainPeers:
    """Decides on plain peers in one draft."""

    def __init__(
        self, members: DraftedMembers, *, unix_time: float, random: Random
    ) -> None:
        self._members = members
        self._unix_time = unix_time
        self._random = random

    def add(self, wanted: AddPeer) -> Result:
        """Let a plain peer in; who it belongs to has been judged before."""
        label = to_label(wanted.name)
        refused = self._refusal(label, wanted.key)
        hub = refused or self._hub_for(wanted)
        if isinstance(hub, Refused):
            return hub
        number = allocate(
            self._members.networks, self._members.taken_numbers, self._random
        )
        if number is None:
            return Refused(
                ErrorCode.MESH_FULL,
                "The mesh has no addresses left; remove nodes that are gone",
            )
        self._members.admit(wanted.key)
        peer = Node(
            key=wanted.key,
            name=label,
            requested_name=label,
            number=number,
            role=PLAIN,
            via=hub.key,
            full_tunnel=wanted.full_tunnel,
            endpoint=wanted.endpoint,
            config_token=wanted.token_digest,
            owner=wanted.owner,
            tags=wanted.tags,
            joined=self._unix_time,
            seen=self._unix_time,
        )
        return Accepted(self._members.put(peer))

    def _refusal(self, label: str, key: str) -> Refused | None:
        """Return why nobody can have this name or this key."""
        try:
            parse_key(key)
        except ValueError as error:
            return Refused(ErrorCode.MALFORMED, f"That is no public key: {error}")
        holder = self._members.find(label)
        if holder is not None or label in self._members.names_taken_by_others(key):
            kind = "peer" if holder is not None and holder.role == PLAIN else "node"
            return Refused(ErrorCode.MALFORMED, IN_USE.format(name=label, kind=kind))
        holder = self._members.get(key)
        if holder is not None:
            return Refused(
                ErrorCode.MALFORMED,
                f"That public key is {holder.name}'s already: make another key pair "
                "with 'wg genkey', for each peer one",
            )
        return None

    def _hub_for(self, wanted: AddPeer) -> Node | Refused:
        """Return the hub that is asked for, or else the first that will do."""
        if wanted.hub:
            hub = self._members.find(wanted.hub)
            if hub is None:
                return Refused(
                    ErrorCode.UNKNOWN_PEER,
                    f"There is no node {wanted.hub}; 'meshwg-coordinator node list' "
                    "shows all",
                )
            return _unfit(hub, wanted) or hub
        unfit: list[Refused] = []
        for hub in hubs_in_order(self._members.all()):
            refused = _unfit(hub, wanted)
            if refused is None:
                return hub
            unfit.append(refused)
        return unfit[0] if unfit else Refused(ErrorCode.UNKNOWN_PEER, NO_HUB)


def hubs_in_order(nodes: Iterable[Node]) -> list[Node]:
    """Return the approved hubs, those first that have been that for longest."""
    hubs = [node for node in nodes if node.role == HUB and not node.expired]
    return sorted(hubs, key=lambda each: (each.hub_since, each.key))


def _unfit(hub: Node, wanted: AddPeer) -> Refused | None:
    """Return why a node cannot serve a plain peer."""
    if hub.role != HUB or hub.expired:
        return Refused(
            ErrorCode.MALFORMED,
            f"{hub.name} is no hub: start it with --hub, and approve it with "
            f"'meshwg-coordinator node approve {hub.name} --hub'",
        )
    endpoint = endpoint_for(hub, wanted.endpoint)
    if isinstance(endpoint, Unreachable):
        return Refused(ErrorCode.MALFORMED, str(endpoint))
    if wanted.full_tunnel and not hub.exit:
        return Refused(ErrorCode.MALFORMED, NO_EXIT.format(hub=hub.name))
    return None


@dataclass(frozen=True, slots=True)
class ConfigToken:
    """The secret with which a router fetches its configuration, and only that.

    :ivar text: in clear, shown once.
    :ivar digest: what is kept of it. It has 144 random bits, so it needs no slow hash.
    """

    text: str
    digest: str

    @classmethod
    def generate(cls, random: Random) -> "ConfigToken":
        """Return a new one."""
        text = random(TOKEN_BYTES).hex()
        return cls(text, _digest(text))


def is_token_of(peer: Node, text: str) -> bool:
    """Tell whether a text is the secret of a peer's configuration."""
    given = _digest(text)
    return bool(peer.config_token) and hmac.compare_digest(peer.config_token, given)


def plain_peers(registry: Registry) -> list[Node]:
    """Return all plain peers by name."""
    nodes = registry.nodes.values()
    return sorted((n for n in nodes if n.role == PLAIN), key=lambda each: each.name)


def find_plain_peer(registry: Registry, name: str) -> Node | None:
    """Return the plain peer of a name or a public key."""
    found: Mapping[str, Node] = registry.nodes
    node = found.get(registry.names.get(name, name))
    return node if node is not None and node.role == PLAIN else None


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode(errors="replace")).hexdigest()
