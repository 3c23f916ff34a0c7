"""Whether the names in a policy are somebody's: an unknown one is a mistake."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coordinator.policy.document import Document, PolicyError
from coordinator.policy.selectors import Selector, SelectorKind
from meshwg.prefixes import IPNetwork, overlap

MAX_DEPTH = 32
"""Groups inside each other."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is in the mesh that a policy may name."""

    users: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    """Of tokens and nodes; those with owners in the policy are known, too."""
    nodes: frozenset[str] = frozenset()
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The users in the groups that an identity provider names."""
    networks: tuple[IPNetwork, ...] = ()
    """Of the mesh itself."""


def resolve_groups(
    document: Document, inventory: Inventory
) -> dict[str, frozenset[str]]:
    """Return the users in each group, also in those that others contain.

    :raises PolicyError: if groups contain each other, or name nobody.
    """
    resolving = _Groups(document, inventory)
    for name in document.groups:
        resolving.resolve(name, ())
    return {**inventory.groups, **resolving.resolved}


def known_groups(document: Document) -> dict[str, frozenset[str]]:
    """Return the users in each group, without those groups that are not known."""
    groups: dict[str, frozenset[str]] = {}
    for name in document.groups:
        found: dict[str, None] = {}
        waiting, seen = [name], {name}
        while waiting:
            for member in document.groups.get(waiting.pop(), ()):
                group = member.removeprefix("group:")
                if group == member:
                    found[member] = None
                elif group not in seen:
                    seen.add(group)
                    waiting.append(group)
        groups[name] = frozenset(found)
    return groups


def check_names(document: Document, inventory: Inventory) -> None:
    """Refuse a policy that names what is not there.

    :raises PolicyError: naming the first, with the mend.
    """
    resolve_groups(document, inventory)
    for name, network in document.hosts.items():
        if any(overlap(network, each) for each in inventory.networks):
            raise PolicyError(document.lines.of_key("hosts", name), _of_mesh(name))
    for selector, place in _selectors(document):
        problem = _problem(selector, document, inventory)
        if problem:
            line = document.lines.of_text(*place[:2], selector.text, place[2])
            raise PolicyError(line, problem)
    for test in document.expectations:
        for selector in (test.source, test.destination):
            problem = _problem(selector, document, inventory)
            if problem:
                raise PolicyError(test.line, problem)


class _Groups:
    """Finds out who is in groups, each once."""

    def __init__(self, document: Document, inventory: Inventory) -> None:
        self._document = document
        self._inventory = inventory
        self.resolved: dict[str, frozenset[str]] = {}

    def resolve(self, name: str, above: tuple[str, ...]) -> frozenset[str]:
        """Return the users in a group.

        :param above: the groups that contain it, the outermost first.
        """
        if name not in self.resolved:
            members: frozenset[str] = frozenset()
            for member in self._document.groups[name]:
                members |= self._users(name, member, above)
            self.resolved[name] = members
        return self.resolved[name]

    def _users(self, name: str, member: str, above: tuple[str, ...]) -> frozenset[str]:
        document, known = self._document, self._inventory
        group = member.removeprefix("group:")
        problem = ""
        if group == member:
            if member in known.users:
                return frozenset((member,))
            problem = _no_user(member)
        elif group in (*above, name):
            problem = f"group:{group} contains itself; remove it from one of the groups"
        elif len(above) >= MAX_DEPTH:
            problem = f"groups are nested more than {MAX_DEPTH} deep; flatten them"
        elif group in document.groups:
            return self.resolve(group, (*above, name))
        elif group in known.groups:
            return known.groups[group]
        else:
            problem = _no_group(group)
        raise PolicyError(document.lines.of_text("groups", name, member), problem)


def _selectors(
    document: Document,
) -> Iterator[tuple[Selector, tuple[str, str, int]]]:
    """Yield selectors, but those of tests, with table, key and number of table."""
    for name, owners in document.tag_owners.items():
        for each in owners:
            yield each, ("tag-owners", name, 0)
    for index, rule in enumerate(document.allows):
        for each in rule.sources:
            yield each, ("allow", "from", index)
        for each in rule.destinations:
            yield each, ("allow", "to", index)
    for index, approval in enumerate(document.approvals):
        for each in approval.by:
            yield each, ("approve", "by", index)


def _problem(selector: Selector, document: Document, inventory: Inventory) -> str:
    """Return what is wrong with a name, empty if it is somebody's."""
    name, network = selector.name, selector.network
    match selector.kind:
        case SelectorKind.USER if name not in inventory.users:
            return _no_user(name)
        case SelectorKind.GROUP if (
            name not in document.groups and name not in inventory.groups
        ):
            return _no_group(name)
        case SelectorKind.TAG if (
            name not in document.tag_owners and name not in inventory.tags
        ):
            return (
                f"no node and no token has the tag '{name}'; give it owners in "
                "[tag-owners], or correct it"
            )
        case SelectorKind.NODE if name not in inventory.nodes:
            return (
                f"there is no node '{name}'; 'meshwg-coordinator node list' shows all"
            )
        case SelectorKind.PREFIX if network is not None and any(
            overlap(network, each) for each in inventory.networks
        ):
            return _of_mesh(selector.text)
    return ""


def _of_mesh(text: str) -> str:
    return (
        f"{text!r} has addresses of the mesh itself, which nodes get as they join; "
        "name the nodes instead"
    )


def _no_user(name: str) -> str:
    return (
        f"there is no user or host '{name}'; add the user with 'meshwg-coordinator "
        "user add', or name the host in [hosts]"
    )


def _no_group(name: str) -> str:
    return f"there is no group '{name}'; list it in [groups]"
