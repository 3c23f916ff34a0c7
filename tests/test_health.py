"""Complaints about a node: made, replaced, withdrawn, and in which order."""

import pytest

from meshwg.health import Complaint, Health, Severity

SLOW = Complaint("disk-slow", Severity.WARNING, "The disk is slow.", "Buy another.")
FULL = Complaint("disk-full", Severity.FAILURE, "The disk is full.", "Free space.")
HOT = Complaint("too-hot", Severity.WARNING, "It is hot.", "")


def test_a_node_without_complaints_is_well() -> None:
    assert list(Health()) == []


def test_failures_come_before_warnings_which_keep_their_order() -> None:
    health = Health()
    for complaint in (SLOW, HOT, FULL):
        health.set(complaint)
    assert list(health) == [FULL, SLOW, HOT]


def test_a_complaint_of_the_same_code_takes_its_place() -> None:
    health = Health()
    worse = Complaint("disk-slow", Severity.FAILURE, "It stands still.", "Buy another.")
    health.set(SLOW)
    health.set(worse)
    assert list(health) == [worse]


def test_what_is_withdrawn_is_gone_and_what_was_never_made_does_no_harm() -> None:
    health = Health()
    health.set(SLOW)
    health.clear("disk-slow")
    health.clear("disk-slow")
    assert list(health) == []


def test_a_finding_is_put_whether_it_is_a_complaint_or_none() -> None:
    health = Health()
    health.put("disk-slow", SLOW)
    assert list(health) == [SLOW]
    health.put("disk-slow", None)
    assert list(health) == []
    with pytest.raises(AssertionError, match="disk-slow is not too-hot"):
        health.put("too-hot", SLOW)


def test_a_program_reads_words_and_sentences() -> None:
    assert FULL.to_json() == {
        "code": "disk-full",
        "severity": "failure",
        "text": "The disk is full.",
        "mend": "Free space.",
    }
