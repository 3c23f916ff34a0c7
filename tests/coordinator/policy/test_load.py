"""A text becomes a policy only if everything about it is right."""

import pytest

from coordinator.policy.document import PolicyError
from tests.coordinator.policy.policies import EXAMPLE, load


def test_the_example_is_loaded() -> None:
    assert len(load().document.allows) == 2


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("version = 1", "version = 3", "only version 1"),
        ("tag:web", "tag:nothing", "no node and no token has the tag"),
        ("tcp/5432", "tcp/5433", "the test fails"),
    ],
)
def test_each_kind_of_mistake_refuses_it_whole(old: str, new: str, error: str) -> None:
    with pytest.raises(PolicyError, match=error):
        load(EXAMPLE.replace(old, new, 1))
