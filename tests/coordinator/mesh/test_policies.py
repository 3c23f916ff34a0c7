"""A policy that was applied can always be used."""

import hashlib

from coordinator.mesh.policies import MAX_COMMENT, ActivePolicy, make_version
from meshwg.policy.ports import TCP
from tests.coordinator.policy.policies import NODES

TEXT = """
[groups]
sre = ["alice@example.org", "group:gone"]
[[allow]]
from = ["group:sre"]
to = ["tag:db"]
"""


def test_names_that_are_nobodys_any_more_do_no_harm() -> None:
    active = ActivePolicy(make_version(1, TEXT, "me", 1000.0))
    alice, bob, db = (NODES[each] for each in ("laptop-alice", "laptop-bob", "db-1"))

    assert active.problem == ""
    assert active.policy.allowing(alice, db, TCP, 22) is not None
    assert active.policy.allowing(bob, db, TCP, 22) is None


def test_a_text_that_cannot_be_read_allows_nothing() -> None:
    active = ActivePolicy(make_version(1, "allow = 1", "me", 1000.0))

    assert active.problem.startswith("Line 1 of the policy")
    assert active.policy.document.allows == ()


def test_groups_in_a_circle_end() -> None:
    text = '[groups]\na = ["group:b", "alice@example.org"]\nb = ["group:a"]\n'

    active = ActivePolicy(make_version(1, text, "me", 1000.0))

    assert active.policy.groups["b"] == {"alice@example.org"}


def test_a_version_has_the_hash_of_its_text_and_a_short_comment() -> None:
    version = make_version(3, TEXT, "me", 1000.0, "x" * 1000)

    assert version.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert len(version.comment) == MAX_COMMENT
