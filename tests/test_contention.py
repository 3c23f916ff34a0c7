"""What is done when another program undoes it: at once, and then ever more rarely."""

from meshwg.contention import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PATIENCE,
    REMEMBERED,
    WINDOW,
    Contention,
)
from meshwg.health import Severity

NOW = 1000.0


def test_where_nothing_was_undone_there_is_nothing_to_say() -> None:
    contention = Contention("mesh0")
    assert contention.complaint(NOW) is None
    assert contention.get_timer() is None
    assert contention.resumes_at() <= NOW


def test_what_is_undone_now_and_then_is_done_again_at_once() -> None:
    contention = Contention("mesh0")
    for n in range(3 * PATIENCE):
        contention.restored(["the route to 10.0.0.0/8"], NOW + n * WINDOW)
        assert contention.resumes_at() <= NOW + n * WINDOW
    complaint = contention.complaint(NOW + 3 * PATIENCE * WINDOW)
    assert complaint is not None
    assert complaint.severity is Severity.WARNING
    assert f"changed mesh0 {3 * PATIENCE} times" in complaint.text
    assert "the route to 10.0.0.0/8." in complaint.text


def test_against_a_program_that_does_not_stop_the_pauses_grow_to_a_limit() -> None:
    contention, now, pauses = Contention("mesh0"), NOW, []
    for _ in range(PATIENCE + 8):
        contention.restored(["a rule"], now)
        pauses.append(contention.resumes_at() - now)
        now = contention.resumes_at() + 0.3
    assert pauses[:PATIENCE] == PATIENCE * [0.0]
    assert pauses[PATIENCE : PATIENCE + 3] == [
        FIRST_PAUSE,
        2 * FIRST_PAUSE,
        4 * FIRST_PAUSE,
    ]
    assert pauses[-1] == LONGEST_PAUSE
    complaint = contention.complaint(now)
    assert complaint is not None
    assert complaint.severity is Severity.FAILURE
    assert "every 60 s only" in complaint.text


def test_once_it_has_stopped_all_is_forgotten_after_a_while() -> None:
    contention = Contention("mesh0")
    for n in range(PATIENCE + 1):
        contention.restored(["a rule"], NOW + n / 10)
    assert contention.resumes_at() > NOW + 1
    end = contention.get_timer()
    assert end is not None
    assert contention.complaint(end - 1) is not None
    assert contention.complaint(end) is None
    assert end == NOW + PATIENCE / 10 + REMEMBERED
    contention.restored(["a rule"], end + 1)
    complaint = contention.complaint(end + 1)
    assert complaint is not None
    assert "changed mesh0 once" in complaint.text
    assert contention.resumes_at() == end + 1


def test_much_that_was_changed_is_not_listed_in_full() -> None:
    contention = Contention("mesh0")
    contention.restored([f"the route to 10.{n}.0.0/16" for n in range(9)], NOW)
    complaint = contention.complaint(NOW)
    assert complaint is not None
    assert "10.2.0.0/16, 6 more." in complaint.text
