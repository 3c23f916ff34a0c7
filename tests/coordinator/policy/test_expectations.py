"""A policy that fails its own tests is refused."""

import pytest

from coordinator.policy.document import PolicyError
from tests.coordinator.policy.policies import load

RULES = """\
[groups]
both = ["alice@example.org", "bob@example.org"]
[hosts]
lan = "10.0.5.0/24"
[[allow]]
from = ["alice@example.org"]
to = ["tag:db", "10.0.5.0/25", "self"]
ports = ["tcp/1-99", "tcp/100-200", "icmp"]
[[test]]
"""


@pytest.mark.parametrize(
    "test",
    [
        'from = "alice@example.org"\nallow = ["tag:db:tcp/22", "tag:db:icmp"]',
        'from = "alice@example.org"\nallow = ["tag:db:tcp/50-150"]',
        'from = "alice@example.org"\ndeny = ["tag:web", "tag:db:udp/*"]',
        'from = "alice@example.org"\nallow = ["10.0.5.0/26:tcp/22"]',
        'from = "alice@example.org"\ndeny = ["10.0.6.0/24", "internet"]',
        'from = "alice@example.org"\nallow = ["alice@example.org:tcp/22"]',
        'from = "alice@example.org"\ndeny = ["bob@example.org"]',
        'from = "bob@example.org"\ndeny = ["tag:db"]',
        'from = "node:db-1"\ndeny = ["tag:db"]',
        'from = "role:member"\ndeny = ["tag:db"]',
        'from = "10.0.5.0/24"\ndeny = ["tag:db"]',
    ],
)
def test_what_is_as_expected_is_accepted(test: str) -> None:
    load(RULES + test)


@pytest.mark.parametrize(
    ("test", "error"),
    [
        (
            'from = "alice@example.org"\nallow = [\n"tag:db:icmp",\n"tag:db:tcp/201"]',
            "Line 13 of the policy: the test fails, since no rule allows "
            "alice@example.org to tag:db, tcp/201",
        ),
        ('from = "alice@example.org"\nallow = ["tag:db"]', "no rule allows"),
        ('from = "alice@example.org"\nallow = ["lan:tcp/22"]', "no rule allows"),
        (
            'from = "alice@example.org"\ndeny = ["tag:db"]',
            "Line 11 of the policy: the test fails, since the rule on line 5 allows",
        ),
        ('from = "alice@example.org"\ndeny = ["lan:tcp/22"]', "the rule on line 5"),
        (
            'from = "group:both"\nallow = ["tag:db:tcp/22"]',
            "no rule allows bob@example.org to tag:db",
        ),
        (
            'from = "node:laptop-alice"\ndeny = ["node:db-1:tcp/22"]',
            "the rule on line 5 allows node:laptop-alice to node:db-1",
        ),
    ],
)
def test_what_is_not_is_refused(test: str, error: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        load(RULES + test)

    assert error in str(refusal.value)
