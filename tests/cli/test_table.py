"""Tables and quantities as people read them."""

import pytest

from meshwg.cli.table import (
    bytes_text,
    columns,
    duration_text,
    fields,
    milliseconds_text,
    shortened,
    terminal_width,
    use_colour,
    width,
    wrap,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1234, "1.23 kB"),
        (12_345, "12.3 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (5_000_000_000, "5.00 GB"),
        (2 * 10**18, "2000 PB"),
    ],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 7200, "3 d 2 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "-"), (0.4, "0.4 ms"), (9.96, "10.0 ms"), (12.6, "13 ms")],
)
def test_round_trips_are_short(milliseconds: float | None, text: str) -> None:
    assert milliseconds_text(milliseconds) == text


def test_columns_are_aligned_whatever_their_colour() -> None:
    red = "\x1b[31mno\x1b[0m"

    lines = columns([["a", red, "x"], ["long", "yes", ""]])

    assert [width(line) for line in lines] == [12, 9]
    assert lines[0].endswith("   x")
    assert lines[1] == "long  yes"


def test_no_colour_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert use_colour()

    monkeypatch.setenv("NO_COLOR", "1")
    assert not use_colour()


def test_the_terminal_says_how_wide_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "61")
    assert terminal_width() == 61


def test_texts_are_wrapped_by_what_is_seen_of_them() -> None:
    assert wrap("one \x1b[31mtwo\x1b[0m three", 7) == [
        "one \x1b[31mtwo\x1b[0m",
        "three",
    ]
    assert wrap("abcdefgh ij", 5) == ["abcde", "fgh", "ij"]
    assert wrap("", 5) == []


def test_fields_are_indented_below_their_label() -> None:
    assert fields([("a", "one two"), ("long", "x"), ("b", "")], 10) == [
        "a     one",
        "      two",
        "long  x",
        "b",
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(9, "abcdefghi"), (8, "abcde…hi"), (4, "ab…i"), (1, "…")]
)
def test_names_that_are_too_long_lose_their_middle(size: int, text: str) -> None:
    assert shortened("abcdefghi", size) == text
