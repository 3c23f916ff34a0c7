"""Who is in the mesh, as of one version of the database."""

from collections.abc import Mapping
from ipaddress import ip_address

from coordinator.mesh.dnsrecords import RecordSet
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.policies import ActivePolicy
from coordinator.policy.compile import ClassTable
from meshwg.wire.dnsrecords import DEFAULT_DOMAIN


class Registry:
    """All members, found by key, name and number.

    :param epoch: names this mesh: versions of another mean nothing here.
    """

    def __init__(self, networks: Networks, epoch: str) -> None:
        self.epoch = epoch
        self.networks = networks
        self.version = 0
        self.domain = DEFAULT_DOMAIN
        """What the names of nodes end with."""
        self.records = RecordSet()
        self.nodes: dict[str, Node] = {}
        self.policy: ActivePolicy | None = None
        """Who may reach what; ``None`` if all may reach all."""
        self.reclassed = 0
        """The version that last changed the class of a node that was there."""
        self._by_name: dict[str, str] = {}
        self._by_number: dict[int, str] = {}
        self._classes: ClassTable | None = None

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def names(self) -> Mapping[str, str]:
        """Public keys by name."""
        return self._by_name

    @property
    def numbers(self) -> Mapping[int, str]:
        """Public keys by number."""
        return self._by_number

    @property
    def classes(self) -> ClassTable | None:
        """The policy between the classes that nodes have; ``None`` without a policy."""
        if self._classes is None and self.policy is not None:
            policy = self.policy.policy
            unique = {node.policy_class: node for node in self.nodes.values()}
            found = (policy.class_of(node.subject) for node in unique.values())
            self._classes = ClassTable(policy, found)
        return self._classes

    def has_address(self, text: str) -> bool:
        """Tell whether a numeric address is a member's own in the mesh."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        for network in (self.networks.v4, self.networks.v6):
            if address in network:
                number = int(address) - int(network.network_address)
                return number in self._by_number
        return False

    def may_see(self, one: Node, other: Node) -> bool:
        """Return whether two nodes may know of each other."""
        if one.key == other.key or one.expired or other.expired:
            return False
        classes = self.classes
        return classes is None or other.policy_class in classes.sees(one.policy_class)

    def apply(self, changes: Changes) -> None:
        """Take over what a transaction has committed."""
        for key in changes.removed:
            self._forget(key)
        # Names and numbers may have moved among these nodes: first free them all.
        for node in changes.nodes:
            self._forget(node.key)
        for node in changes.nodes:
            self.nodes[node.key] = node
            self._by_name[node.name] = node.key
            self._by_number[node.number] = node.key
        if changes.records is not None:
            self.records = RecordSet(changes.records, changes.version)
        self.version = changes.version
        self.reclassed = max(self.reclassed, changes.reclassed)
        if changes.policy is not None:
            self.policy = changes.policy
            self._classes = None
        known = self._classes
        if known is not None and not all(
            node.policy_class in known.classes for node in changes.nodes
        ):
            self._classes = None

    def _forget(self, key: str) -> None:
        node = self.nodes.pop(key, None)
        if node is not None:
            del self._by_name[node.name]
            del self._by_number[node.number]
