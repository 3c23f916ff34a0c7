"""Which pings were lost, from what ping prints."""

import pytest

from netlab.errors import ScenarioFailed
from netlab.pings import unanswered


def test_a_request_without_an_answer_is_lost() -> None:
    assert unanswered(printed(5, answered=(1, 2, 4, 5)), under_way=2) == ([3], 5)


def test_answers_that_overtake_each_other_are_answers() -> None:
    assert unanswered(printed(3, answered=(2, 1, 3)), under_way=0) == ([], 3)


def test_the_last_requests_were_still_under_way() -> None:
    assert unanswered(printed(6, answered=(1, 2, 3, 4)), under_way=2) == ([], 6)


def test_more_than_can_be_under_way_are_lost() -> None:
    assert unanswered(printed(6, answered=(1, 2, 3)), under_way=2) == ([4, 5, 6], 6)
    assert unanswered(printed(3, answered=()), under_way=2) == ([1, 2, 3], 3)


def test_a_ping_that_did_not_end_in_good_order_says_nothing() -> None:
    with pytest.raises(ScenarioFailed, match="no summary"):
        unanswered("PING 100.64.0.2", under_way=2)


def printed(sent: int, answered: tuple[int, ...]) -> str:
    """Return what ping prints, in part."""
    lines = [
        f"64 bytes from 100.64.0.2: icmp_seq={number} ttl=64 time=1.02 ms"
        for number in answered
    ]
    summary = f"{sent} packets transmitted, {len(answered)} received, 0% packet loss"
    return "\n".join(["PING 100.64.0.2", *lines, "--- statistics ---", summary])
