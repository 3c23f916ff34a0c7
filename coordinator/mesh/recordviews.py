"""Which records of the zone the nodes of each class are told of.

A record follows what it leads to. One that leads to a node, by its address or by its
name, is for those who may see that node; one that leads to an address behind nodes, for
those who may see one of these; what leads out of the mesh is for all. A text leads
nowhere by itself: it follows the node, or the other records, of its name.

Without a policy all see all. With one, all nodes of a class are told the same, so there
is one history for each class, made when the first of its nodes asks.
"""

from ipaddress import ip_address, ip_network

from coordinator.mesh.dnsrecords import RecordSet
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.recordhistory import RecordHistory
from coordinator.mesh.registry import Registry
from meshwg.wire.dnsrecords import DnsRecord, target_of

Classes = frozenset[int] | None
"""Of the nodes that something leads to; ``None``: to no node, so it is for all."""


class RecordViews:
    """The records as each class sees them, which follow the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._everybody = RecordHistory(registry.records)
        self._histories: dict[int, RecordHistory] = {}
        self._places: dict[str, tuple[object, ...]] = {}
        """What records follow of each node; kept while there are any."""
        self._table = registry.classes
        self._leads = {} if self._table is None else leads_of(registry)
        self._version = registry.version
        """The mesh's version that the leads are of."""
        self._have_moved(Changes(self._version))

    def apply(self, changes: Changes) -> bool:
        """Take committed changes over, which the registry has already.

        :return: whether the nodes of any class see a difference.
        """
        registry, table = self._registry, self._registry.classes
        news, may_differ = False, self._have_moved(changes)
        if changes.records is not None:
            news = self._everybody.put(changes.records, changes.version)
            may_differ = True
        if table is None or not (may_differ or table is not self._table):
            self._version = max(self._version, changes.version)
            return news
        self._table = table
        for number in [each for each in self._histories if each not in table.classes]:
            del self._histories[number]
        self._leads, self._version = leads_of(registry), registry.version
        for number, history in self._histories.items():
            news |= history.put(self._seen_by(number), self._version)
        return news

    def of(self, key: str) -> RecordHistory:
        """Return the history that a node is told."""
        node = self._registry.nodes.get(key)
        if self._table is None or node is None:
            return self._everybody
        number = node.policy_class
        history = self._histories.get(number)
        if history is None:
            # What was seen before is not known, so it is as if all had changed now.
            # The registry may know already what is still to be applied here.
            present = RecordSet(self._seen_by(number), self._version)
            history = self._histories[number] = RecordHistory(present)
        return history

    def _seen_by(self, number: int) -> tuple[DnsRecord, ...]:
        assert self._table is not None
        seen = self._table.sees(number)
        return tuple(
            record
            for record, classes in self._leads.items()
            if classes is None or not seen.isdisjoint(classes)
        )

    def _have_moved(self, changes: Changes) -> bool:
        """Tell whether nodes changed in what records follow."""
        if not self._registry.records.records:
            self._places.clear()
            return False
        if not self._places:
            nodes = self._registry.nodes
            self._places = {key: _place(node) for key, node in nodes.items()}
        moved = False
        for key in changes.removed:
            self._places.pop(key, None)
            moved = True
        for node in changes.nodes:
            moved |= self._places.get(node.key) != _place(node)
            self._places[node.key] = _place(node)
        return moved


def _place(node: Node) -> tuple[object, ...]:
    """Return what records follow of a node."""
    return node.name, node.number, node.routes, node.policy_class


def leads_of(registry: Registry) -> dict[DnsRecord, Classes]:
    """Return the records of a mesh, each with the classes of what it leads to."""
    leads = _Leads(registry)
    return {record: leads.of(record) for record in registry.records.records}


class _Leads:
    """Finds out what records lead to, names each once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._records: dict[str, list[DnsRecord]] = {}
        for record in registry.records.records:
            self._records.setdefault(record.name, []).append(record)
        self._behind = [
            (network, node.policy_class)
            for node in registry.nodes.values()
            for network in map(ip_network, node.routes)
            # What is only behind an exit is in no network of the mesh.
            if network.prefixlen
        ]
        self._names: dict[str, Classes] = {}

    def of(self, record: DnsRecord) -> Classes:
        if record.kind in ("A", "AAAA"):
            return self._of_address(record.value)
        name = target_of(record) or record.name
        if name not in self._names:
            self._names[name] = self._of_name(name)
        return self._names[name]

    def _of_name(self, name: str) -> Classes:
        """Return where a name leads, over as many others as it takes."""
        classes: frozenset[int] = frozenset()
        waiting, known = [name], {name}
        while waiting:
            name = waiting.pop()
            node = self._node(name)
            if node is not None:
                classes |= {node.policy_class}
                continue
            for record in self._records.get(name, ()):
                target = target_of(record)
                if target is not None and target not in known:
                    known.add(target)
                    waiting.append(target)
                elif record.kind in ("A", "AAAA"):
                    found = self._of_address(record.value)
                    if found is None:
                        return None
                    classes |= found
        return classes or None

    def _of_address(self, text: str) -> Classes:
        address, networks = ip_address(text), self._registry.networks
        for network in (networks.v4, networks.v6):
            if address in network:
                number = int(address) - int(network.network_address)
                key = self._registry.numbers.get(number)
                if key is None:
                    return None
                return frozenset((self._registry.nodes[key].policy_class,))
        classes = frozenset(each for net, each in self._behind if address in net)
        return classes or None

    def _node(self, name: str) -> Node | None:
        key = self._registry.names.get(name)
        return None if key is None else self._registry.nodes[key]
