"""What the history of a peer says of an attempt."""

import pytest

from meshwg.path.events import AttemptResult
from meshwg.path.punch import PunchMethod
from meshwg.path.verdict import Outcome, Verdict


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (Verdict.OK, AttemptResult.OK),
        (Verdict.MISSED, AttemptResult.FAILED),
        (Verdict.BUSY, AttemptResult.REFUSED),
        (Verdict.REFUSED, AttemptResult.REFUSED),
        (Verdict.LATE, AttemptResult.REFUSED),
    ],
)
def test_only_an_attempt_in_which_something_was_sent_can_fail(
    verdict: Verdict, result: AttemptResult
) -> None:
    assert Outcome(PunchMethod.BIRTHDAY, verdict, "why").result is result
