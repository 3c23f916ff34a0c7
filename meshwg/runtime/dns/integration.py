"""What every way to have the system ask the mesh's name server has in common."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Registration:
    """What the system is to know."""

    interface: str
    index: int
    host: str
    """Where the name server is."""
    port: int
    domain: str
    reverse_zones: tuple[str, ...]
    takes_all: bool = False
    """Whether it is to be asked for all names, not just the mesh's."""


class Integration(Protocol):
    """Something that decides which name servers a machine's programs ask."""

    @property
    def mode(self) -> str:
        """What ``meshwg status`` calls it."""

    @property
    def forwards(self) -> bool:
        """Whether all questions come, so that others' have to be passed on."""

    @property
    def is_lost(self) -> bool:
        """Whether there is no way to it any more, so that it has to be found anew."""

    async def apply(self, wanted: Registration) -> tuple[str, ...]:
        """Have the system ask, again if need be; return whom it asked before.

        :raises MeshError: if the system refuses; nothing has changed then.
        """

    async def has_changed(self) -> bool:
        """Tell whether something else has changed what :meth:`apply` did."""

    async def undo(self) -> None:
        """Put back what was there, if nothing else was put there since."""
