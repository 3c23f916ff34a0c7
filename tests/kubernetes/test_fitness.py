"""What is checked, and what several checks say together."""

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.fitness import (
    CheckTarget,
    Fitness,
    parse_target,
    status_problem,
)


def test_before_the_first_check_nothing_is_fit() -> None:
    assert not Fitness().is_fit


def test_one_good_check_is_enough() -> None:
    assert Fitness().after("refused").after(None) == Fitness(True, 0, "")


def test_a_single_failure_is_no_reason_to_move() -> None:
    fit = Fitness().after(None)
    assert fit.after("refused").is_fit
    assert fit.after("refused").after(None).after("refused").is_fit


def test_two_failures_in_a_row_are() -> None:
    after = Fitness().after(None).after("refused").after("no answer")
    assert (after.is_fit, after.problem) == (False, "no answer")


def test_what_was_never_fit_does_not_become_so_by_a_failure() -> None:
    assert not Fitness().after("refused").is_fit


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("tcp://127.0.0.1:6443", CheckTarget("tcp", "127.0.0.1", 6443)),
        ("tcp://[::1]:6443/", CheckTarget("tcp", "::1", 6443)),
        ("https://localhost/", CheckTarget("https", "localhost", 443, "/")),
        ("http://localhost:8080", CheckTarget("http", "localhost", 8080, "/")),
        (
            "https://127.0.0.1:6443/livez?verbose=",
            CheckTarget("https", "127.0.0.1", 6443, "/livez?verbose="),
        ),
    ],
)
def test_a_service_is_named_by_a_url(text: str, target: CheckTarget) -> None:
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "6443",
        "localhost:6443",
        "tcp://localhost",
        "tcp://:6443",
        "tcp://localhost:6443/path",
        "udp://localhost:53",
        "https://localhost:99999/",
        "https://a:secret@localhost/",
        "http://localhost/a b",
        "http://localhost/\r\nX: y",
        "https://[::1/",
    ],
)
def test_what_cannot_be_checked_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be checked"):
        parse_target(text)


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 OK", b"HTTP/1.0 302 Found"])
def test_an_answer_below_400_is_a_good_one(line: bytes) -> None:
    assert status_problem(line) is None


def test_other_answers_are_not() -> None:
    assert status_problem(b"HTTP/1.1 503 Service Unavailable") == "it answers 503"
    for line in (b"", b"SSH-2.0-OpenSSH", b"HTTP/1.1 20", b"HTTP/1.1 999 What"):
        assert status_problem(line) == "what answers does not speak HTTP"
