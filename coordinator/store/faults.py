"""What goes wrong with databases, as sentences with cause and mend.

PostgreSQL says what happened in codes (SQLSTATE, appendix "PostgreSQL Error Codes" of
its manual), whatever language its messages are in; SQLite in words.

A fault *refuses* what was asked if another request may be taken all the same. All
others are the database's own: what was asked is asked again later.
"""

import re
from dataclasses import dataclass

from meshwg.errors import CoordinatorError


class StoreError(CoordinatorError):
    """The database cannot be used.

    :param damaged: its contents are wrong; waiting will not help.
    :param refused: it works, and did not take what it was given.
    """

    def __init__(
        self, message: str, *, damaged: bool = False, refused: bool = False
    ) -> None:
        super().__init__(message)
        self.damaged = damaged
        self.refused = refused


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a code, or the beginning of one, stands for.

    :ivar text: with places for the database and for its own words.
    """

    text: str
    damaged: bool = False
    refused: bool = False

    def of(self, place: str, reason: str) -> StoreError:
        message = self.text.format(place=place, reason=reason)
        return StoreError(message, damaged=self.damaged, refused=self.refused)


_FULL = _Kind("The disk that holds {place} is full; free some space")
_BUSY = _Kind("The database {place} was in the way of itself: {reason}")
_SCHEMA = _Kind(
    "The database {place} has not the tables that this version knows ({reason}): "
    "update meshwg, or restore a backup"
)
_CORRUPT = _Kind(
    "The database {place} is damaged ({reason}): restore it from a backup", damaged=True
)
_REFUSED = _Kind("The database {place} refused a request: {reason}", refused=True)
_AWAY = _Kind("The database {place} cannot be reached: {reason}")
_SILENT = _Kind("The database {place} does not answer; it is asked again")
_READ_ONLY = _Kind(
    "The database {place} takes no writes ({reason}): name the primary in --database, "
    "or all hosts as HOST,HOST; services make it read-only, too, when its disk is full"
)
_CREDENTIALS = _Kind(
    "The database {place} does not let this user in ({reason}): check user and "
    "password in --database, and the server's pg_hba.conf"
)

_BY_STATE = {
    "3D000": _Kind(
        "There is no such database at {place}: make it with 'createdb', or correct "
        "--database"
    ),
    "42501": _Kind(
        "The database {place} does not let this user make and change tables "
        "({reason}): let him own the database: ALTER DATABASE … OWNER TO …"
    ),
    "25006": _READ_ONLY,
    "40001": _BUSY,
    "40P01": _BUSY,
    "55P03": _BUSY,
    "57014": _BUSY,
    "25P03": _SILENT,
    "53100": _FULL,
    "53200": _Kind("The server of {place} has no memory left: {reason}"),
    "53300": _Kind(
        "The server of {place} has no connection left: raise its max_connections, or "
        "close others ({reason})"
    ),
    "58030": _Kind("The disk that holds {place} fails: {reason}"),
    "42P01": _SCHEMA,
    "42703": _SCHEMA,
    "3F000": _SCHEMA,
    "XX001": _CORRUPT,
    "XX002": _CORRUPT,
}
_BY_CLASS = {
    "08": _AWAY,
    "28": _CREDENTIALS,
    "53": _Kind("The server of {place} is short of something: {reason}"),
    "57": _Kind("The database {place} is starting or stopping; it is asked again"),
    "58": _Kind("The server of {place} fails: {reason}"),
    "0A": _Kind(
        "The server of {place} cannot do what is needed ({reason}): PostgreSQL 13 or "
        "later is"
    ),
}
"""By the first two letters of a code, where the whole one is not known."""

_IN_WORDS = (
    (
        "malformed|not a database",
        _Kind(
            "The database {place} is damaged; restore it from a backup, or move it "
            "away to begin a new mesh",
            damaged=True,
        ),
    ),
    ("disk is full|No space left", _FULL),
    ("locked", _Kind("The database {place} is locked by another program")),
    (
        "readonly|unable to open|attempt to write",
        _Kind("The database {place} cannot be written: {reason}"),
    ),
)


def explain(
    error: BaseException, place: str, *, sqlstate: str | None, is_answer: bool
) -> StoreError:
    """Return what an exception of a driver means.

    :param place: the database, as it may be shown.
    :param sqlstate: PostgreSQL's code, if it sent one.
    :param is_answer: whether the database said this, and not the way to it.
    """
    reason = _first_line(error)
    if isinstance(error, TimeoutError):
        return _SILENT.of(place, reason)
    if sqlstate:
        known = _BY_STATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2]) or _REFUSED
        return known.of(place, reason)
    for words, kind in _IN_WORDS:
        if re.search(words, reason):
            return kind.of(place, reason)
    if "target attribute" in reason:
        return _READ_ONLY.of(place, "none of its hosts is a primary")
    return (_REFUSED if is_answer else _AWAY).of(place, reason)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    # The driver of SQLAlchemy puts the name of the class before the words.
    text = re.sub(r"^<class '[\w.]+'>: ", "", text)
    return text.splitlines()[0] if text else repr(error)
