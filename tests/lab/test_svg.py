"""Drawings are well-formed, whatever text they contain."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from netlab.svg import box, document, line, text
from tests.lab.reports import SVG

# XML has no other control characters, and no halves of surrogate pairs.
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")))


@given(WORDS)
def test_any_words_are_shown_as_they_are(words: str) -> None:
    body = [text(1, 2, words), box(0, 0, 1, 1, fill="#fff", tip=words or "-")]

    drawing = ElementTree.fromstring(document(10, 10, body, words))

    shown = drawing.find(f"{SVG}text")
    tip = drawing.find(f"{SVG}rect/{SVG}title")
    title = drawing.find(f"{SVG}title")
    assert shown is not None
    assert tip is not None
    assert title is not None
    assert [(each.text or "") for each in (shown, tip, title)] == [
        words,
        words or "-",
        words,
    ]


def test_a_box_has_a_tooltip_only_where_one_is_given() -> None:
    assert "title" not in box(0, 0, 1, 1, fill="#fff")


def test_text_is_rotated_about_its_own_position() -> None:
    assert 'rotate(-48 3 4)"' in text(3, 4, "x", rotate=-48)
    assert "rotate" not in text(3, 4, "x")


def test_a_line_goes_from_end_to_end() -> None:
    drawn = ElementTree.fromstring(line(1, 2, 3.5, 4))

    assert [drawn.get(name) for name in ("x1", "y1", "x2", "y2")] == [
        *("1", "2", "3.5", "4")
    ]
