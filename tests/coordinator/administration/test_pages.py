"""Long lists in pages."""

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.administration.pages import cursor_of, page, place_in
from coordinator.administration.problems import Problem


def names(items: Sequence[str], limit: int | None, cursor: str | None) -> Any:
    return page(items, lambda each: (each,), limit, cursor)


def test_without_a_limit_everything_is_shown_and_nothing_said_of_a_next_page() -> None:
    assert names(["a", "b"], None, None) == (["a", "b"], {})


def test_pages_follow_each_other_to_the_end() -> None:
    items = ["a", "b", "c", "d", "e"]
    seen, cursor = [], None
    for _ in range(3):
        shown, more = names(items, 2, cursor)
        seen += shown
        cursor = more["next"]
    assert (seen, cursor) == (items, None)


def test_what_goes_or_comes_between_two_pages_shifts_nothing() -> None:
    _, more = names(["a", "b", "c", "d"], 2, None)
    shown, _ = names(["aa", "c", "d"], 2, more["next"])
    assert shown == ["c", "d"]


def test_a_full_last_page_has_no_next_one() -> None:
    assert names(["a", "b"], 2, None)[1] == {"next": None}
    assert names([], 2, None) == ([], {"next": None})


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "!!!!", "bnVsbA", "W3RydWVd", "e30", "W" * 2000]
)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(Problem, match="begin without one"):
        names(["a"], 1, cursor)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Problem, match="of another list"):
        names(["a"], 1, cursor_of((5,)))


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False))))
def test_a_place_comes_back_from_its_cursor(place: list[Any]) -> None:
    cursor = cursor_of(tuple(place))
    if len(cursor) <= 1000:
        assert place_in(cursor) == tuple(place)


@given(st.text())
def test_any_text_is_a_cursor_or_a_problem(cursor: str) -> None:
    with contextlib.suppress(Problem):
        assert isinstance(place_in(cursor), tuple)
