"""What went wrong, in the form of RFC 9457."""

import pytest

from coordinator.administration.problems import (
    Problem,
    Trouble,
    problem_in,
    problem_of,
    record_of,
    refusal,
)
from coordinator.mesh.operations import Outdated, Refused
from meshwg.errors import ConfigError, MeshError
from meshwg.wire.control import ErrorCode


def test_a_problem_has_a_sentence_a_title_and_a_word_for_programs() -> None:
    assert record_of(Problem(404, Trouble.UNKNOWN, "There is no node x")) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no node x",
        "code": "unknown",
        "error": "There is no node x",
    }


@pytest.mark.parametrize(
    ("refused", "status", "trouble"),
    [
        (Refused(ErrorCode.UNKNOWN_PEER, "no"), 404, Trouble.UNKNOWN),
        (Refused(ErrorCode.TOKEN_UNKNOWN, "no"), 404, Trouble.UNKNOWN),
        (Refused(ErrorCode.MALFORMED, "no"), 409, Trouble.REFUSED),
        (Outdated(ErrorCode.MALFORMED, "no"), 412, Trouble.OUTDATED),
    ],
)
def test_a_refusal_has_the_status_of_its_kind(
    refused: Refused, status: int, trouble: Trouble
) -> None:
    problem = refusal(refused)
    assert (problem.status, problem.trouble) == (status, trouble)


@pytest.mark.parametrize(
    ("error", "trouble", "exit_status"),
    [
        (ConfigError("no"), Trouble.MALFORMED, 2),
        (MeshError("no"), Trouble.REFUSED, 1),
        (Problem(403, Trouble.NOT_PERMITTED, "no"), Trouble.NOT_PERMITTED, 5),
    ],
)
def test_an_error_becomes_a_problem_with_the_same_exit_status(
    error: MeshError, trouble: Trouble, exit_status: int
) -> None:
    problem = problem_of(error)
    assert (problem.trouble, problem.exit_status) == (trouble, exit_status)
    assert problem.exit_status == error.exit_status


def test_a_problem_comes_back_as_it_was_told() -> None:
    problem = Problem(412, Trouble.OUTDATED, "It has changed")
    back = problem_in(record_of(problem), 412)
    assert (back.status, back.trouble, str(back)) == (412, "outdated", "It has changed")


@pytest.mark.parametrize("record", [None, [], "x", {}, {"code": 5, "detail": []}])
def test_an_answer_that_is_no_problem_is_one_all_the_same(record: object) -> None:
    problem = problem_in(record, 502)
    assert problem.trouble is Trouble.REFUSED
    assert "status 502" in str(problem)
