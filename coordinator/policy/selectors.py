"""Selectors: the words by which a policy names nodes, and what is behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_network

from meshwg.prefixes import IPNetwork, overlap

IPAddress = IPv4Address | IPv6Address

MEMBER, HUB, PLAIN = "member", "hub", "plain"
ROLES = (MEMBER, HUB, PLAIN)
"""Of nodes: those that belong to a user, those that forward, and those that run nothing
but WireGuard."""


class SelectorKind(Enum):
    """What a selector is about."""

    ANY = "any"
    """All nodes, and all addresses behind them."""
    USER = "user"
    GROUP = "group"
    TAG = "tag"
    NODE = "node"
    ROLE = "role"
    PREFIX = "prefix"
    """Addresses behind nodes."""
    SELF = "self"
    """The nodes of the same user as the source."""
    INTERNET = "internet"
    """Addresses that are behind no node, through one that is an exit."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A node as a policy sees it."""

    name: str
    owner: str = ""
    tags: tuple[str, ...] = ()
    role: str = "node"
    routes: tuple[IPNetwork, ...] = ()
    exit: bool = False
    """Whether the internet is behind it, for those who choose that."""

    @property
    def user(self) -> str:
        """Whose rights it has; a node with a tag acts for nobody."""
        return "" if self.tags else self.owner


Party = Subject | IPAddress
"""Who sends or receives: a node, or an address behind one."""


@dataclass(frozen=True, slots=True)
class Selector:
    """One word of a policy."""

    kind: SelectorKind
    text: str
    """As the policy has it."""
    name: str = ""
    """Of the user, group, tag, node or role."""
    network: IPNetwork | None = None

    def matches(self, party: Party, groups: Mapping[str, frozenset[str]]) -> bool:
        """Tell whether a party is meant, by itself.

        :param groups: the users in each group.
        """
        if self.kind is SelectorKind.ANY:
            return True
        if not isinstance(party, Subject):
            return self.network is not None and party in self.network
        match self.kind:
            case SelectorKind.USER:
                return party.user == self.name
            case SelectorKind.GROUP:
                return party.user in groups.get(self.name, ())
            case SelectorKind.TAG:
                return self.name in party.tags
            case SelectorKind.NODE:
                return party.name == self.name
            case SelectorKind.ROLE if self.name == MEMBER:
                return bool(party.user)
            case SelectorKind.ROLE:
                return party.role == self.name
        return False

    def reaches_behind(self, subject: Subject) -> bool:
        """Tell whether addresses behind a node are meant."""
        network = self.network
        if self.kind is SelectorKind.INTERNET:
            return subject.exit
        return network is not None and any(
            overlap(network, route) for route in subject.routes
        )


def is_behind(selector: Selector) -> bool:
    """Tell whether a selector is about addresses behind nodes, and not about nodes."""
    return selector.kind in (SelectorKind.PREFIX, SelectorKind.INTERNET)


def parse_selector(text: str, hosts: Mapping[str, IPNetwork]) -> Selector:
    """Return what a word of a policy stands for.

    :param hosts: addresses that have names in the policy.
    :raises ValueError: if it stands for nothing; the message says what to write.
    """
    for kind in (SelectorKind.ANY, SelectorKind.SELF, SelectorKind.INTERNET):
        if text == kind.value:
            return Selector(kind, text)
    if text in hosts:
        return Selector(SelectorKind.PREFIX, text, network=hosts[text])
    head, colon, name = text.partition(":")
    if colon and head in ("group", "tag", "node", "role"):
        kind = SelectorKind(head)
        if not name:
            raise ValueError(f"a name is missing after {head}:")
        if kind is SelectorKind.ROLE and name not in ROLES:
            raise ValueError("the roles are role:member, role:hub and role:plain")
        return Selector(kind, text, name)
    network = _network(text)
    if network is not None:
        return Selector(SelectorKind.PREFIX, text, network=network)
    if not text or any(letter.isspace() or letter in ":/" for letter in text):
        raise ValueError(
            "write a user, group:NAME, tag:NAME, node:NAME, role:member, a network, "
            "a name of [hosts] or any"
        )
    return Selector(SelectorKind.USER, text, text)


def _network(text: str) -> IPNetwork | None:
    """Return a network without host bits, ``None`` if a text looks like none.

    :raises ValueError: if it looks like one.
    """
    if "/" not in text and ":" not in text and not text.replace(".", "").isdecimal():
        return None
    try:
        return ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            whole = ip_network(text, strict=False)
            raise ValueError(f"it has host bits; write {whole}") from None
        raise ValueError(
            "it is no network; write 10.0.0.0/16, or group:, tag: or node: first"
        ) from None
