"""From a text to a policy, with everything about it checked."""

from collections.abc import Iterable

from coordinator.policy.compile import Policy
from coordinator.policy.document import parse_policy
from coordinator.policy.expectations import check_expectations
from coordinator.policy.names import Inventory, check_names, resolve_groups
from coordinator.policy.selectors import Subject


def load_policy(text: str, inventory: Inventory, nodes: Iterable[Subject]) -> Policy:
    """Return the policy of a text.

    :param nodes: those of the mesh; tests may name them.
    :raises PolicyError: if it is malformed, names what is not there, or fails one of
        its own tests.
    """
    document = parse_policy(text)
    check_names(document, inventory)
    policy = Policy(document, resolve_groups(document, inventory))
    check_expectations(policy, {each.name: each for each in nodes})
    return policy
