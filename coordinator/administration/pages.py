"""Long lists in pages. A cursor says where a page ended, not how many were before.

So what comes or goes between two pages makes nothing appear twice or be left out.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from coordinator.administration.problems import malformed

MAX_LIMIT: Final = 1000
MAX_CURSOR: Final = 1000
"""Letters of a cursor."""

Place = tuple[str | float | int, ...]
"""Where something stands in its list: what the list is sorted by."""


def page(
    items: Sequence[Any],
    place_of: Callable[[Any], Place],
    limit: int | None,
    cursor: str | None,
) -> tuple[Sequence[Any], dict[str, object]]:
    """Return one page of a list, and what its answer says of the next.

    :param items: in the order of their places.
    :param limit: ``None`` for all, which is no page and says nothing.
    :raises Problem: if the cursor is none of this list's.
    """
    if cursor is not None:
        items = _after(items, place_of, cursor)
    if limit is None:
        return items, {}
    shown = items[:limit]
    more = len(items) > limit
    return shown, {"next": cursor_of(place_of(shown[-1])) if more else None}


def cursor_of(place: Place) -> str:
    """Return the cursor of a place."""
    text = json.dumps(place, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def place_in(cursor: str) -> Place:
    """Return the place of a cursor.

    :raises Problem: if it is none.
    """
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError("too long")
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        place = None
    if not isinstance(place, list) or not all(map(_is_part, place)):
        raise malformed("'cursor' is not the 'next' of a page: begin without one")
    return tuple(place)


def _after(
    items: Sequence[Any], place_of: Callable[[Any], Place], cursor: str
) -> Sequence[Any]:
    place = place_in(cursor)
    try:
        return [each for each in items if place_of(each) > place]
    except TypeError:
        raise malformed("'cursor' is of another list: begin without one") from None


def _is_part(part: object) -> bool:
    return isinstance(part, str | int | float) and not isinstance(part, bool)
