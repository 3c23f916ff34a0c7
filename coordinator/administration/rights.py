"""Who may do what: actors, scopes, and roles as sets of scopes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from coordinator.mesh.apitokens import ApiToken
from meshwg.errors import ConfigError


class Scope(StrEnum):
    """Something that one may be allowed to do."""

    NODES_READ = "nodes:read"
    NODES_WRITE = "nodes:write"
    TOKENS_READ = "tokens:read"
    TOKENS_WRITE = "tokens:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ROUTES_READ = "routes:read"
    ROUTES_WRITE = "routes:write"
    POLICY_READ = "policy:read"
    POLICY_WRITE = "policy:write"
    NAMES_READ = "names:read"
    NAMES_WRITE = "names:write"
    PEERS_READ = "peers:read"
    PEERS_WRITE = "peers:write"
    API_TOKENS_READ = "api-tokens:read"
    API_TOKENS_WRITE = "api-tokens:write"
    AUDIT_READ = "audit:read"
    RELAYS_READ = "relays:read"
    EVENTS_READ = "events:read"


class Role(StrEnum):
    """What people and programs are to the administration."""

    ADMIN = "admin"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    MEMBER = "member"


ALL: Final = tuple(Scope)
READING: Final = tuple(scope for scope in Scope if scope.endswith(":read"))
OPERATING: Final = (
    Scope.NODES_WRITE,
    Scope.TOKENS_WRITE,
    Scope.ROUTES_WRITE,
    Scope.NAMES_WRITE,
    Scope.PEERS_WRITE,
)
"""What an operator does beside reading. Who may reach what, who is a user, and which
programs administer the mesh, is not his to say."""

ROLES: Final[Mapping[Role, tuple[Scope, ...]]] = {
    Role.ADMIN: ALL,
    Role.OPERATOR: (*READING, *OPERATING),
    Role.AUDITOR: READING,
    Role.MEMBER: (),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who administers the mesh, or a program that does."""

    identity: str
    """Who it is, for the audit log."""
    role: Role | None = None
    scopes: tuple[Scope, ...] = ()
    """What it may do, in the order of :class:`Scope`."""
    address: str = ""
    """From where it asks; empty for this machine."""
    states_what_it_replaces: bool = True
    """Whether it has to say which state it has seen of what it replaces as a whole.
    Programs that were written before there were entity tags do not."""

    def may(self, scope: Scope) -> bool:
        """Tell whether it may do something."""
        return scope in self.scopes


def in_role(
    identity: str,
    role: Role,
    *,
    more: Iterable[Scope] = (),
    address: str = "",
    states_what_it_replaces: bool = True,
) -> Actor:
    """Return an actor with all that a role may do.

    :param more: scopes beside those of the role.
    """
    scopes = ordered((*ROLES[role], *more))
    return Actor(identity, role, scopes, address, states_what_it_replaces)


def token_actor(token: ApiToken, address: str) -> Actor:
    """Return who shows an API token. Scopes that this version does not know give
    nothing."""
    identity = f"API token {token.number}"
    if token.name:
        identity += f" ({token.name})"
    more = known_scopes(token.scopes)
    if token.role in tuple(Role):
        return in_role(identity, Role(token.role), more=more, address=address)
    return Actor(identity, None, more, address)


def known_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Return those texts that are scopes."""
    return ordered(Scope(text) for text in texts if text in tuple(Scope))


def ordered(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return scopes once each, always in the same order."""
    given = tuple(scopes)
    return tuple(scope for scope in Scope if scope in given)


def parse_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes that an administrator has written.

    :raises ConfigError: if one is none.
    """
    found = tuple(texts)
    for text in found:
        if text not in tuple(Scope):
            raise ConfigError(
                f"{text!r} is no scope; there are {', '.join(Scope)}: use some of them"
            )
    return known_scopes(found)
