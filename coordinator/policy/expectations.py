"""The tests in a policy: whether it does what its author expects.

They are about what is named, not about the nodes that happen to be there: a test for a
user is about a node of his, and a test for a tag about a node with that tag alone.
"""

from coordinator.policy.compile import Policy
from coordinator.policy.document import Allow, Expectation, PolicyError
from coordinator.policy.selectors import (
    MEMBER,
    Party,
    Selector,
    SelectorKind,
    Subject,
)
from meshwg.policy.ports import Ports
from meshwg.prefixes import IPNetwork, is_within, overlap

MAX_EXAMPLES = 1000
"""Members of a group that a test is about."""


def check_expectations(policy: Policy, nodes: dict[str, Subject]) -> None:
    """Refuse a policy that does something else than its tests expect.

    :param nodes: those of the mesh, by name.
    :raises PolicyError: naming the first test that fails, and why.
    """
    for test in policy.document.expectations:
        for source in _examples(test.source, policy, nodes):
            for destination in _examples(test.destination, policy, nodes):
                _check(policy, test, source, destination)


def _check(
    policy: Policy, test: Expectation, source: "_Example", destination: "_Example"
) -> None:
    rules = [
        rule
        for rule in policy.document.allows
        if _is_about(policy, rule, source, destination, whole=test.allowed)
    ]
    what = f"{source.name} to {destination.name}, {test.ports}"
    if test.allowed:
        if not _are_covered(test.ports, [p for rule in rules for p in rule.ports]):
            problem = (
                f"the test fails, since no rule allows {what}; add one, or mend it"
            )
            raise PolicyError(test.line, problem)
        return
    for rule in rules:
        if any(_meet(test.ports, each) for each in rule.ports):
            raise PolicyError(
                test.line,
                f"the test fails, since the rule on line {rule.line} allows {what}; "
                "narrow it, or mend the test",
            )


class _Example:
    """One whom a selector of a test is about.

    :ivar party: a node, ``None`` for addresses.
    :ivar network: the addresses.
    """

    def __init__(
        self, name: str, party: Subject | None, network: IPNetwork | None = None
    ) -> None:
        self.name = name
        self.party = party
        self.network = network


def _examples(
    selector: Selector, policy: Policy, nodes: dict[str, Subject]
) -> list[_Example]:
    name, text = selector.name, selector.text
    match selector.kind:
        case SelectorKind.USER:
            return [_Example(text, Subject("", owner=name))]
        case SelectorKind.GROUP:
            users = sorted(policy.groups.get(name, ()))[:MAX_EXAMPLES]
            return [_Example(user, Subject("", owner=user)) for user in users]
        case SelectorKind.TAG:
            return [_Example(text, Subject("", tags=(name,)))]
        case SelectorKind.NODE:
            return [_Example(text, nodes[name])] if name in nodes else []
        case SelectorKind.ROLE if name == MEMBER:
            # Of a user whom no rule names.
            return [_Example(text, Subject("", owner="\0"))]
        case SelectorKind.ROLE:
            return [_Example(text, Subject("", role=name))]
        case SelectorKind.PREFIX:
            return [_Example(text, None, selector.network)]
    return [_Example(text, Subject(""))]


def _is_about(
    policy: Policy,
    rule: Allow,
    source: _Example,
    destination: _Example,
    *,
    whole: bool,
) -> bool:
    """Tell whether a rule is about two examples.

    :param whole: about all addresses of a network, else about one of them.
    """
    if source.party is not None and destination.party is not None:
        return policy.is_source(rule, source.party) and policy.is_destination(
            rule, source.party, destination.party
        )
    if source.party is not None:
        is_source = policy.is_source(rule, source.party)
    else:
        is_source = _has_network(rule.sources, source.network, whole)
    if destination.party is not None:
        party: Party = destination.party
        elsewhere = Subject("")
        return is_source and policy.is_destination(rule, elsewhere, party)
    return is_source and _has_network(rule.destinations, destination.network, whole)


def _has_network(
    selectors: tuple[Selector, ...], network: IPNetwork | None, whole: bool
) -> bool:
    return network is not None and any(
        each.kind is SelectorKind.ANY
        or (
            each.network is not None
            and (
                is_within(network, each.network)
                if whole
                else overlap(network, each.network)
            )
        )
        for each in selectors
    )


def _are_covered(wanted: Ports, allowed: list[Ports]) -> bool:
    """Tell whether ports are allowed by several rules together."""
    if any(each.includes(wanted) for each in allowed):
        return True
    first = wanted.first
    for each in sorted(allowed):
        if each.protocol == wanted.protocol and each.first <= first <= each.last:
            first = each.last + 1
    return first > wanted.last


def _meet(one: Ports, other: Ports) -> bool:
    return (
        one.includes(other)
        or other.includes(one)
        or (
            one.protocol == other.protocol
            and one.first <= other.last
            and other.first <= one.last
        )
    )
