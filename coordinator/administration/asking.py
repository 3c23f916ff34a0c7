"""What somebody asks of the administration, and what he gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from coordinator.administration.problems import refusal
from coordinator.administration.rights import Actor
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.audit import AuditRow
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.flows import Flow
from coordinator.mesh.operations import (
    Accepted,
    Administered,
    Operation,
    Refused,
    Result,
)
from coordinator.mesh.policies import PolicyVersion, User
from coordinator.mesh.registry import Registry
from meshwg.transmit import Random

Model = TypeVar("Model", bound=BaseModel)


class AdministeredMesh(Protocol):
    """A mesh that can be looked at and changed: in a running coordinator, or in its
    database alone. All of it may raise :class:`~meshwg.errors.CoordinatorError`."""

    @property
    def coordinator_key(self) -> bytes:
        """The public key by which new nodes are to know the coordinator."""

    @property
    def relays(self) -> Sequence[tuple[str, bool]]:
        """URLs of relays, and whether each is the coordinator's own."""

    async def urls(self) -> list[str]:
        """Return the URLs that join tokens carry, none if none is known yet."""

    async def registry(self) -> Registry:
        """Return the members as they are now."""

    async def auth_keys(self) -> list[AuthKey]:
        """Return all auth keys, the oldest first."""

    async def api_tokens(self) -> list[ApiToken]:
        """Return all API tokens, the oldest first."""

    async def users(self) -> list[User]:
        """Return all users, by name."""

    async def policies(self) -> list[PolicyVersion]:
        """Return all versions of the policy, the newest first."""

    async def flows(self) -> dict[Flow, float]:
        """Return the flows of the last days, with when each was seen last."""

    async def audit(
        self, after: int = 0, since: float = 0.0, limit: int | None = None
    ) -> list[AuditRow]:
        """Return what administrators did, in order."""

    async def perform(self, operation: Administered) -> Result:
        """Carry out an operation."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    record: dict[str, Any]
    """Without its ``schema``."""
    etag: str = ""
    """Of what the answer shows, if administrators can change that."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as its handler gets it."""

    mesh: AdministeredMesh
    actor: Actor
    now: float
    """Unix time."""
    random: Random = field(repr=False)
    draw: Callable[[str], str]
    """Makes a QR code of a text."""
    path: Mapping[str, str]
    """What stands in the path's placeholders."""
    query: BaseModel | None = None
    body: BaseModel | str | None = None
    """What the endpoint's model has read, or a text as it came."""
    expected: str = ""
    """The entity tag of what the actor has seen."""

    def asking(self, model: type[Model]) -> Model:
        """Return the query."""
        assert isinstance(self.query, model)
        return self.query

    def sent(self, model: type[Model]) -> Model:
        """Return the body."""
        assert isinstance(self.body, model)
        return self.body

    @property
    def text(self) -> str:
        """The body, of which nothing is read here."""
        assert isinstance(self.body, str)
        return self.body

    async def perform(self, operation: Operation, refused: int = 409) -> Accepted:
        """Carry out an operation of the actor.

        :param refused: the status where it makes sense, and cannot be done.
        :raises Problem: if it is refused.
        """
        actor = self.actor
        wanted = Administered(operation, actor.identity, actor.address, self.expected)
        result = await self.mesh.perform(wanted)
        if isinstance(result, Refused):
            raise refusal(result, refused)
        return result
