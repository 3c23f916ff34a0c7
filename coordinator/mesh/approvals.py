"""What nodes offer to others, what administrators decide on it, and what came of it.

A node offers *items*: networks behind it, itself as an exit, itself as a hub. A
decision belongs to a node and an item, and stays with the node when it withdraws the
item, so it holds when the node comes back with it.
"""

from dataclasses import dataclass
from typing import Final

from meshwg import prefixes
from meshwg.wire.routes import ApprovalState, RouteTraits

EXIT: Final = "exit"
HUB: Final = "hub"
MAX_DECISIONS: Final = 256
"""On one node: more than it can offer at once, so that all are of use."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on one item of a node. Times are Unix times."""

    item: str
    """A network, :data:`EXIT` or :data:`HUB`."""
    approved: bool
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class ItemState:
    """How it stands with one item of a node."""

    item: str
    state: str
    """An :class:`ApprovalState`."""
    reason: str = ""
    """Why it is not approved: the second half of a sentence."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a node says that it offers; ``None`` leaves that as it was."""

    routes: tuple[str, ...] | None = None
    traits: tuple[RouteTraits, ...] = ()
    """Of :attr:`routes`."""
    exit: bool | None = None
    hub: bool | None = None

    def after(self, older: "Announcement") -> "Announcement":
        """Return what two announcements say together, this one being the later."""
        routes = self if self.routes is not None else older
        return Announcement(
            routes.routes,
            routes.traits,
            self.exit if self.exit is not None else older.exit,
            self.hub if self.hub is not None else older.hub,
        )


def advertised(item: str, reason: str) -> ItemState:
    """Return the state of an item that waits."""
    return ItemState(item, ApprovalState.ADVERTISED, reason)


def refused(item: str, reason: str) -> ItemState:
    """Return the state of an item that nobody is told of, and why."""
    return ItemState(item, ApprovalState.REFUSED, reason)


def parse_item(text: str) -> str:
    """Return an item as administrators write it.

    :raises ValueError: if it is none; the text is a sentence.
    """
    if text in (EXIT, HUB):
        return text
    try:
        return prefixes.canonical(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no network ({error}): write one as 10.1.0.0/16, or 'exit'"
        ) from None
