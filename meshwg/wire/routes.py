"""What control messages say of networks behind nodes, of exits and of hubs.

A node *offers* networks behind it, itself as an exit to the internet, or itself as a
hub. Each of these needs an administrator's approval before others are told of it, and
the node hears what became of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from meshwg import prefixes
from meshwg.routeoptions import DEFAULT_PRIORITY, MAX_PRIORITY
from meshwg.schema import Converted, MaxLength, Within, plain
from meshwg.wire.fields import Prefix, Sentence, Word

MAX_ROUTES: Final = 64
"""Of one node."""

OfferedRoutes = Annotated[
    tuple[str, ...], MaxLength(MAX_ROUTES), Converted(prefixes.without_zones)
]
"""Networks, as a node offers them."""
ToldRoutes = Annotated[
    tuple[str, ...], MaxLength(MAX_ROUTES), Converted(prefixes.readable)
]
"""Networks, as others hear of them: those that cannot be read are left out."""


class ApprovalState(StrEnum):
    """What became of something that a node offers."""

    ADVERTISED = "advertised"
    """It waits for an administrator."""
    APPROVED = "approved"
    """Others are told of it."""
    REFUSED = "refused"
    """An administrator does not want it, or nobody can have it."""
    WITHDRAWN = "withdrawn"
    """The node offers it no more; if it does again, the approval still holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTraits:
    """What a router says of one of its routes, beyond that it has it."""

    prefix: Prefix
    priority: Annotated[int, Within(ge=0, le=MAX_PRIORITY)] = DEFAULT_PRIORITY
    """Of several routers of one network, that with the lower number is preferred."""
    mapped: Prefix | None = None
    """The network that it really is behind the router, which maps one on the other."""


Traits = Annotated[tuple[RouteTraits, ...], MaxLength(MAX_ROUTES)]
"""Of those routes of a node that are not as all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """What became of a network that a node offers."""

    prefix: Prefix
    state: Word
    """An :class:`ApprovalState`, or one that a newer coordinator knows."""
    reason: Sentence = ""
    """Why it is not approved, and what can be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WishState:
    """What became of a node's wish to be an exit, or a hub."""

    state: Word
    reason: Sentence = ""


def plain_traits(traits: Iterable[RouteTraits]) -> list[dict[str, Any]]:
    """Return traits as JSON has them."""
    return [plain(each) for each in traits]
