"""What the host's own firewall does to packets of the mesh, read from its rules.

A packet passes all chains of a hook, and one that drops it is enough: that the node's
own chain accepts it counts for nothing in a chain of Docker, ufw or firewalld. So what
a hub forwards must be accepted *in each of these chains*, before what drops it. And
some programs drop what has a source in a network that they think theirs: Tailscale
takes all of 100.64.0.0/10 for itself.

The rules are those of ``nft --json list ruleset``, which shows iptables' as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

IPNetwork = IPv4Network | IPv6Network

OWN_TABLES = "meshwg-"
"""How the names of the node's own tables begin, and the comments of its rules."""

FOR_USERS = "DOCKER-USER"
"""The chain that Docker leaves to others, and asks before its own."""

MAX_DEPTH = 16
"""Jumps that are followed, as many as the kernel follows."""

_ENDS = ("accept", "drop", "reject", "queue", "return", "jump", "goto")


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """One rule."""

    handle: int
    comment: str
    expressions: tuple[Mapping[str, Any], ...]

    @property
    def owner(self) -> str:
        """The first word of the comment: that of a node names its interface."""
        return self.comment.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules."""

    family: str
    table: str
    name: str
    hook: str
    """Where packets enter it; empty if it is only jumped to."""
    policy: str
    rules: tuple[FirewallRule, ...] = ()

    @property
    def place(self) -> str:
        """How nft names it: family, table and name."""
        return f"{self.family} {self.table} {self.name}"

    def has(self, version: int | None) -> bool:
        """Tell whether packets of an IP version pass it; ``None`` stands for both."""
        families = {4: ("ip", "inet"), 6: ("ip6", "inet")}
        return version is None or self.family in families[version]

    @property
    def is_ours(self) -> bool:
        """Whether it is in a table of this program."""
        return self.table.startswith(OWN_TABLES)


class Ruleset:
    """The chains of a host.

    :param text: what ``nft --json list ruleset`` prints.
    :raises ValueError: if it is something else.
    """

    def __init__(self, text: str) -> None:
        try:
            entries = json.loads(text)["nftables"]
            chains = [each["chain"] for each in entries if "chain" in each]
            rules = [each["rule"] for each in entries if "rule" in each]
            self._chains = _assemble(chains, rules)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"nft printed no rules: {error}") from None

    def chains_that_drop_forwarded(self) -> list[Chain]:
        """Return the chains of others that may drop what is forwarded."""
        return [
            chain
            for chain in self._entered_by("forward")
            if chain.policy == "drop" or self._may_drop(chain, 0)
        ]

    def place_in(self, chain: Chain) -> Chain:
        """Return where to accept something before a chain drops it.

        That is the chain itself, unless it asks Docker's chain for users first: when
        Docker starts, it puts its own rules before all others.
        """
        for rule in chain.rules:
            for expression in rule.expressions:
                target = self._target(chain, expression)
                if target is not None and target.name == FOR_USERS:
                    return target
            if self._drops_in(chain, rule, 0):
                break
        return chain

    def is_first(self, chain: Chain, rule: FirewallRule) -> bool:
        """Tell whether nothing is dropped in a chain before one of its rules."""
        for each in chain.rules:
            if each.handle == rule.handle:
                return True
            if self._drops_in(chain, each, 0):
                return False
        return False

    def rules_of(self, owner: str) -> list[tuple[Chain, FirewallRule]]:
        """Return the rules in chains of others whose comment begins with this word."""
        return [
            (chain, rule)
            for chain in self._chains.values()
            for rule in chain.rules
            if rule.owner == owner and not chain.is_ours
        ]

    def owners(self) -> set[str]:
        """Return the owners of this program's rules in chains of others."""
        return {
            rule.owner
            for chain in self._chains.values()
            for rule in chain.rules
            if rule.owner.startswith(OWN_TABLES) and not chain.is_ours
        }

    def chain_that_drops_source(
        self, network: IPNetwork, interface: str
    ) -> Chain | None:
        """Return the chain that drops packets because their source is in a network.

        A firewall that drops by port, or whatever nobody allowed, is not meant.

        :param interface: at which the packets arrive.
        """
        for hook in ("prerouting", "input"):
            for chain in self._entered_by(hook):
                found = self._walk(chain, network, interface, 0)
                if isinstance(found, Chain):
                    return found
        return None

    def chain_that_is_closed(self, network: IPNetwork, interface: str) -> Chain | None:
        """Return the chain that drops what comes from the mesh unless a rule names it.

        So does a firewall that nobody has told of the mesh's interface.

        :param network: of the sources.
        """
        for chain in self._entered_by("input"):
            if chain.has(network.version) and self._ends(chain, network, interface, 0):
                return chain
        return None

    def _ends(
        self, chain: Chain, network: IPNetwork, interface: str, depth: int
    ) -> bool | None:
        """Tell whether a packet is dropped of which no more is known.

        :returns: ``None`` if it leaves the chain as it came.
        """
        for rule in chain.rules if depth < MAX_DEPTH else ():
            if _match(rule, network, interface)[0] is not True:
                continue
            for expression in rule.expressions:
                if "accept" in expression or _drops(expression):
                    return _drops(expression)
                if "return" in expression:
                    return chain.policy == "drop" if chain.hook else None
                target = self._target(chain, expression)
                found = None
                if target is not None:
                    found = self._ends(target, network, interface, depth + 1)
                if found is not None:
                    return found
        return chain.policy == "drop" if chain.hook else None

    def _entered_by(self, hook: str) -> Iterator[Chain]:
        for chain in self._chains.values():
            if chain.hook == hook and not chain.is_ours:
                yield chain

    def _may_drop(self, chain: Chain, depth: int) -> bool:
        return any(self._drops_in(chain, rule, depth) for rule in chain.rules)

    def _drops_in(self, chain: Chain, rule: FirewallRule, depth: int) -> bool:
        for expression in rule.expressions:
            if _drops(expression):
                return True
            target = self._target(chain, expression)
            is_followed = target is not None and depth < MAX_DEPTH
            if target and is_followed and self._may_drop(target, depth + 1):
                return True
        return False

    def _target(self, chain: Chain, expression: Mapping[str, Any]) -> Chain | None:
        """Return the chain that an expression leads to, if it does."""
        jump = expression.get("jump") or expression.get("goto")
        if not isinstance(jump, dict):
            return None
        return self._chains.get((chain.family, chain.table, str(jump.get("target"))))

    def _walk(
        self, chain: Chain, network: IPNetwork, interface: str, depth: int
    ) -> Chain | bool:
        """Follow a packet whose source is all that is known of it.

        :returns: the chain that drops it for its source, ``True`` if it is accepted, or
            ``False`` if it goes on.
        """
        for rule in chain.rules:
            match, names_source = _match(rule, network, interface)
            if match is False:
                continue
            for expression in rule.expressions:
                if match:
                    outcome = _outcome(expression, names_source)
                    if outcome is not None:
                        return chain if outcome == "dropped" else outcome == "accepted"
                target = self._target(chain, expression)
                if target is None or depth >= MAX_DEPTH:
                    continue
                found = self._walk(target, network, interface, depth + 1)
                if isinstance(found, Chain) or (found and match):
                    return found
        return False


def _outcome(expression: Mapping[str, Any], names_source: bool) -> str | None:
    """Return how an expression ends the way through a chain, ``None`` if it does not.

    :param names_source: whether the rule asks for the source; what is dropped for
        another reason is not the matter here.
    """
    if "accept" in expression:
        return "accepted"
    if _drops(expression):
        return "dropped" if names_source else "left"
    return "left" if "return" in expression else None


def _assemble(
    chains: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str, str], Chain]:
    by_chain: dict[tuple[str, str, str], list[FirewallRule]] = {}
    for rule in rules:
        place = (str(rule["family"]), str(rule["table"]), str(rule["chain"]))
        expressions = tuple(
            each for each in rule.get("expr", ()) if isinstance(each, dict)
        )
        by_chain.setdefault(place, []).append(
            FirewallRule(int(rule["handle"]), str(rule.get("comment", "")), expressions)
        )
    found = {}
    for chain in chains:
        place = (str(chain["family"]), str(chain["table"]), str(chain["name"]))
        if chain["family"] not in ("ip", "ip6", "inet"):
            continue
        found[place] = Chain(
            *place,
            hook=str(chain.get("hook", "")),
            policy=str(chain.get("policy", "accept")),
            rules=tuple(by_chain.get(place, ())),
        )
    return found


def _drops(expression: Mapping[str, Any]) -> bool:
    return "drop" in expression or "reject" in expression


def _match(
    rule: FirewallRule, network: IPNetwork, interface: str
) -> tuple[bool | None, bool]:
    """Return whether a rule matches, and whether it asks for the source.

    ``None`` means that it asks for something that is not known here.
    """
    result: bool | None = True
    names_source = False
    for expression in rule.expressions:
        if not _is_condition(expression):
            continue
        one, is_source = _condition(expression.get("match"), network, interface)
        if one is False:
            return False, False
        result = None if one is None else result
        names_source = names_source or is_source
    return result, names_source


def _is_condition(expression: Mapping[str, Any]) -> bool:
    passing = ("counter", "log", "comment", *_ENDS)
    return not any(each in expression for each in passing)


def _condition(
    match: Any, network: IPNetwork, interface: str
) -> tuple[bool | None, bool]:
    """Return whether one condition holds, and whether it is one of the source."""
    if not isinstance(match, dict) or match.get("op") not in ("==", "!=", "in"):
        return None, False
    left, right, wanted = match.get("left"), match.get("right"), match["op"] != "!="
    if not isinstance(left, dict):
        return None, False
    meta, payload = left.get("meta"), left.get("payload")
    if isinstance(meta, dict) and meta.get("key") in ("iifname", "iif"):
        return (_names(right, interface)) is wanted, False
    if isinstance(payload, dict) and payload.get("field") == "saddr":
        holds = any(
            each.version == network.version and each.overlaps(network)
            for each in _networks(right)
        )
        return holds is wanted, wanted
    return None, False


def _names(right: Any, interface: str) -> bool:
    """Tell whether an interface is one of those on the right of a condition."""
    if isinstance(right, dict):
        return any(_names(each, interface) for each in right.get("set", ()))
    name = str(right)
    if name.endswith("*"):
        return interface.startswith(name[:-1])
    return name == interface


def _networks(right: Any) -> Iterator[IPNetwork]:
    """Yield the networks on the right of a condition, and nothing for other things."""
    text = right
    if isinstance(right, dict):
        for each in right.get("set", ()):
            yield from _networks(each)
        prefix = right.get("prefix")
        if not isinstance(prefix, dict):
            return
        text = f"{prefix.get('addr')}/{prefix.get('len')}"
    try:
        yield ip_network(str(text), strict=False)
    except ValueError:
        return
