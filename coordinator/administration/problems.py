"""What went wrong, as RFC 9457 has it: one object, and in it one sentence.

``code`` is a word for programs, and ``error`` the same sentence as ``detail``: it is
what programs read that were written before there was ``detail``.
"""

from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from coordinator.mesh.operations import Outdated, Refused
from meshwg.errors import ConfigError, MeshError
from meshwg.wire.control import ErrorCode

MEDIA_TYPE: Final = "application/problem+json"


class Trouble(StrEnum):
    """The kinds of problems."""

    MALFORMED = "malformed"
    """What was sent makes no sense."""
    REFUSED = "refused"
    """It makes sense, and cannot be done."""
    UNKNOWN = "unknown"
    """It is about something that is not there."""
    WRONG_TOKEN = "wrong-token"
    NOT_PERMITTED = "not-permitted"
    EXPOSED = "exposed"
    """Others could read what is sent this way."""
    OUTDATED = "outdated"
    """It has changed since it was read."""
    STATE_MISSING = "state-missing"
    """Nobody said which state is to be replaced."""
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many"
    DATABASE = "database"
    UNEXPECTED = "unexpected"
    METHOD = "method"


EXIT_STATUSES: Final = {
    Trouble.MALFORMED: 2,
    Trouble.WRONG_TOKEN: 5,
    Trouble.NOT_PERMITTED: 5,
    Trouble.EXPOSED: 5,
}
"""With which a command ends that meets a problem, if not with 1."""


class Problem(MeshError):
    """Something that cannot be done, with the status of its answer over HTTP."""

    def __init__(self, status: int, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.trouble = trouble
        self.exit_status = EXIT_STATUSES.get(trouble, 1)


def record_of(problem: Problem) -> dict[str, Any]:
    """Return a problem as the object of RFC 9457."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": str(problem),
        "code": problem.trouble.value,
        "error": str(problem),
    }


def problem_in(record: object, status: int) -> Problem:
    """Return the problem that a server has told of.

    :param record: the JSON of its answer, if there was any.
    """
    fields = record if isinstance(record, dict) else {}
    code, detail = fields.get("code"), fields.get("detail") or fields.get("error")
    trouble = Trouble.REFUSED
    if isinstance(code, str) and code in tuple(Trouble):
        trouble = Trouble(code)
    if not isinstance(detail, str):
        detail = f"The coordinator answered with status {status}; its log may say more"
    return Problem(status, trouble, detail)


def problem_of(error: MeshError) -> Problem:
    """Return an error as a problem."""
    if isinstance(error, Problem):
        return error
    trouble = Trouble.MALFORMED if isinstance(error, ConfigError) else Trouble.REFUSED
    return Problem(400, trouble, str(error))


def refusal(refused: Refused, status: int = 409) -> Problem:
    """Return why an operation was not carried out.

    :param status: of an operation that makes sense, and cannot be done.
    """
    if isinstance(refused, Outdated):
        return Problem(412, Trouble.OUTDATED, refused.message)
    if refused.code in (ErrorCode.UNKNOWN_PEER, ErrorCode.TOKEN_UNKNOWN):
        status = 404 if status == 409 else status
        return Problem(status, Trouble.UNKNOWN, refused.message)
    return Problem(status, Trouble.REFUSED, refused.message)


def malformed(sentence: str) -> Problem:
    """Return that what was sent makes no sense."""
    return Problem(400, Trouble.MALFORMED, sentence)


def unknown(sentence: str) -> Problem:
    """Return that something is not there."""
    return Problem(404, Trouble.UNKNOWN, sentence)
