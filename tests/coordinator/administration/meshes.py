"""A mesh without a database, and its administration."""

import asyncio
import json
from typing import Any

from coordinator.administration.asking import Answer
from coordinator.administration.problems import Problem
from coordinator.administration.rights import Actor, Role, Scope, in_role
from coordinator.administration.service import Administration, Request
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.audit import AuditRow, chained
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.draft import Draft
from coordinator.mesh.flows import Flow
from coordinator.mesh.operations import Accepted, Administered, Operation, Result
from coordinator.mesh.policies import PolicyVersion, User
from coordinator.mesh.registry import Registry
from tests.coordinator.mesh.drafting import Mesh

ADMIN = in_role("carol@desk", Role.ADMIN, address="192.0.2.7")
KEY = bytes(range(32))


class VirtualMesh:
    """What administers it sees the same as of one with a database."""

    def __init__(self) -> None:
        self.mesh = Mesh()
        self.coordinator_key = KEY
        self.relays = [("turn:192.0.2.1:3478?transport=udp", True)]
        self.address = "https://mesh.example.org"
        self.tokens: dict[str, ApiToken] = {}
        self.rows: list[AuditRow] = []
        self.versions: list[PolicyVersion] = []
        self.seen: dict[Flow, float] = {}

    async def urls(self) -> list[str]:
        return [self.address] if self.address else []

    async def registry(self) -> Registry:
        return self.mesh.registry

    async def auth_keys(self) -> list[AuthKey]:
        return list(self.mesh.auth_keys.values())

    async def api_tokens(self) -> list[ApiToken]:
        return list(self.tokens.values())

    async def users(self) -> list[User]:
        return list(self.mesh.users.values())

    async def policies(self) -> list[PolicyVersion]:
        return self.versions[::-1]

    async def flows(self) -> dict[Flow, float]:
        return self.seen

    async def audit(
        self, after: int = 0, since: float = 0.0, limit: int | None = None
    ) -> list[AuditRow]:
        found = [row for row in self.rows if row.seq > after and row.at >= since]
        return found[:limit]

    async def perform(self, operation: Administered) -> Result:
        mesh = self.mesh
        draft = Draft(
            mesh.registry,
            mesh.auth_keys,
            unix_time=mesh.unix_time,
            random=mesh.random,
            users=mesh.users,
            api_tokens=self.tokens,
        )
        result = draft.perform(operation)
        mesh.auth_keys |= draft.auth_keys
        mesh.users |= draft.users
        self.tokens |= draft.api_tokens
        if draft.policy is not None:
            self.versions.append(draft.policy.record)
        for entry in draft.audited:
            self.rows.append(chained(entry, self.rows[-1] if self.rows else None))
        mesh.registry.apply(draft.changes)
        return result


class Office:
    """The administration of a virtual mesh, which is asked one thing at a time."""

    def __init__(self) -> None:
        self.mesh = VirtualMesh()
        self._service = Administration(
            self.mesh, random=self.mesh.mesh.random, draw=lambda text: f"code of {text}"
        )

    def ask(
        self,
        name: str,
        /,
        *,
        actor: Actor = ADMIN,
        query: dict[str, str] | None = None,
        body: Any = None,
        text: str | bytes = b"",
        if_match: str = "",
        **path: str,
    ) -> Answer:
        """Ask an endpoint; return its answer."""
        data = text.encode() if isinstance(text, str) else text
        if body is not None:
            data = json.dumps(body).encode()
        request = Request(path, query or {}, data, if_match)
        now = self.mesh.mesh.unix_time
        return asyncio.run(self._service.ask(actor, name, request, now))

    def problem(self, name: str, /, **asked: Any) -> Problem:
        """Return why an endpoint refuses something."""
        try:
            self.ask(name, **asked)
        except Problem as problem:
            return problem
        raise AssertionError(f"{name} is not refused")

    def join(self, key: str, name: str) -> None:
        """Let a node in."""
        self.mesh.mesh.join(key, name)

    def do(self, operation: Operation) -> None:
        """Carry out an operation that is accepted."""
        result = asyncio.run(self.mesh.perform(Administered(operation, "mesh")))
        assert isinstance(result, Accepted), result


def with_scopes(*scopes: Scope) -> Actor:
    """Return somebody who may do just that."""
    return Actor("API token 1", None, scopes)
