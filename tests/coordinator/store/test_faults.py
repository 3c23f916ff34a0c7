"""What databases say when something is wrong, and what users are told."""

import pytest

from coordinator.store.faults import StoreError, explain

PLACE = "postgresql://mesh@db/mesh"


@pytest.mark.parametrize(
    ("sqlstate", "named"),
    [
        ("28P01", "check user and password in --database"),
        ("28000", "check user and password in --database"),
        ("3D000", "make it with 'createdb'"),
        ("42501", "ALTER DATABASE"),
        ("25006", "takes no writes"),
        ("53100", "is full; free some space"),
        ("53200", "no memory left"),
        ("53300", "raise its max_connections"),
        ("53400", "is short of something"),
        ("57P01", "starting or stopping"),
        ("57P03", "starting or stopping"),
        ("08006", "cannot be reached"),
        ("42P01", "has not the tables that this version knows"),
        ("42703", "has not the tables that this version knows"),
        ("40001", "in the way of itself"),
        ("40P01", "in the way of itself"),
        ("25P03", "does not answer"),
        ("0A000", "PostgreSQL 13 or later"),
    ],
)
def test_a_fault_of_the_database_itself_has_cause_and_mend(
    sqlstate: str, named: str
) -> None:
    error = told(RuntimeError("the reason\nmore of it"), sqlstate)
    assert named in str(error)
    assert PLACE in str(error)
    assert "more of it" not in str(error)
    assert not error.refused
    assert not error.damaged


@pytest.mark.parametrize("sqlstate", ["22021", "22001", "23505", "54000", "99999"])
def test_what_it_does_not_take_is_refused_and_nothing_else(sqlstate: str) -> None:
    error = told(RuntimeError("the reason"), sqlstate)
    assert error.refused
    assert "refused a request: the reason" in str(error)


@pytest.mark.parametrize("sqlstate", ["XX001", "XX002"])
def test_waiting_does_not_mend_what_is_corrupted(sqlstate: str) -> None:
    assert told(RuntimeError("invalid page"), sqlstate).damaged


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("database disk image is malformed", "is damaged; restore it"),
        ("file is not a database", "is damaged; restore it"),
        ("database or disk is full", "is full; free some space"),
        ("database is locked", "locked by another program"),
        ("attempt to write a readonly database", "cannot be written"),
        ("unable to open database file", "cannot be written"),
    ],
)
def test_sqlite_says_it_in_words(words: str, named: str) -> None:
    error = explain(RuntimeError(words), "/m.db", sqlstate=None, is_answer=True)
    assert named in str(error)
    assert error.damaged == ("damaged" in named)


def test_silence_is_told_from_a_refusal() -> None:
    silent = explain(TimeoutError(), PLACE, sqlstate=None, is_answer=False)
    assert "does not answer" in str(silent)
    lost = explain(OSError("Connection reset"), PLACE, sqlstate=None, is_answer=False)
    assert "cannot be reached: Connection reset" in str(lost)
    assert not lost.refused


def test_a_standby_is_named_as_such() -> None:
    text = "None of the hosts match the target attribute requirement 'read-write'"
    error = explain(RuntimeError(text), PLACE, sqlstate=None, is_answer=False)
    assert "name the primary" in str(error)


def test_an_error_without_words_is_shown_as_it_is() -> None:
    error = explain(OSError(), PLACE, sqlstate=None, is_answer=False)
    assert "OSError" in str(error)


def told(error: Exception, sqlstate: str) -> StoreError:
    return explain(error, PLACE, sqlstate=sqlstate, is_answer=True)
