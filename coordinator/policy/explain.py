"""Why one may reach another, or what is missing."""

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.policy.compile import Policy
from coordinator.policy.document import Allow
from coordinator.policy.selectors import Party
from meshwg.policy.ports import ports_label

MAX_NEAREST = 3
"""Rules that are shown of a denial."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict, and the rules that speak for it."""

    allowed: bool
    rules: tuple[Allow, ...]
    """Those that allow; of a denial, those that are nearest to it."""
    missing: tuple[str, ...]
    """What each of the nearest rules would need, as half a sentence."""


def explain(
    policy: Policy, source: Party, destination: Party, protocol: int, port: int
) -> Explanation:
    """Return whether somebody may reach something, and why."""
    allowing: list[Allow] = []
    near: list[tuple[int, Allow, str]] = []
    for rule in policy.document.allows:
        lacks = tuple(_lacks(policy, rule, source, destination, protocol, port))
        if not lacks:
            allowing.append(rule)
        elif len(lacks) < 3:
            near.append((len(lacks), rule, f"it is not for {' and '.join(lacks)}"))
    if allowing:
        return Explanation(True, tuple(allowing), ())
    near.sort(key=lambda each: each[0])
    nearest = near[:MAX_NEAREST]
    return Explanation(
        False,
        tuple(rule for _, rule, _ in nearest),
        tuple(missing for _, _, missing in nearest),
    )


def rule_label(rule: Allow) -> str:
    """Return a rule in one line: ``group:sre -> tag:db, db  tcp/5432``."""
    sources = ", ".join(each.text for each in rule.sources)
    destinations = ", ".join(each.text for each in rule.destinations)
    return f"{sources} -> {destinations}  {', '.join(map(str, rule.ports))}"


def _lacks(
    policy: Policy,
    rule: Allow,
    source: Party,
    destination: Party,
    protocol: int,
    port: int,
) -> Iterator[str]:
    """Yield what keeps a rule from allowing something."""
    if not policy.is_source(rule, source):
        yield "this source"
    if not policy.is_destination(rule, source, destination):
        yield "this destination"
    if not any(each.covers(protocol, port) for each in rule.ports):
        yield ports_label(protocol, port)
