"""A registry with an auth key and the time, on which operations are carried out."""

import random

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.draft import Draft
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Accepted, Join, Operation, Refused, Result
from coordinator.mesh.policies import User
from coordinator.mesh.registry import Registry
from meshwg.limits import RateLimiter
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText

NETWORKS = Networks.parse("100.64.0.0/16", "fd00::/48")


class Mesh:
    """A registry, an auth key, and the time."""

    def __init__(
        self,
        *,
        networks: Networks = NETWORKS,
        reusable: bool = True,
        ephemeral: bool = False,
        approved: tuple[str, ...] | None = (),
        hub: bool = False,
    ) -> None:
        self.registry = Registry(networks, "epoch")
        self.random = random.Random(1).randbytes
        self.unix_time = 1000.0
        self.approved = approved
        self.text = AuthKeyText.generate(self.random)
        key = AuthKey.from_text(
            self.text,
            reusable=reusable,
            ephemeral=ephemeral,
            created=0.0,
            lifetime=1e6,
            hub=hub,
        )
        self.auth_keys = {key.number: key}
        self.users: dict[str, User] = {}

    def draft(self, admissions: RateLimiter | None = None) -> Draft:
        return Draft(
            self.registry,
            self.auth_keys,
            unix_time=self.unix_time,
            random=self.random,
            approved_routes=self.approved,
            admissions=admissions,
            users=self.users,
            token_tags=frozenset(t for k in self.auth_keys.values() for t in k.tags),
        )

    def do(self, *operations: Operation) -> list[Result]:
        """Carry operations out in one transaction."""
        draft = self.draft()
        results = [draft.perform(operation) for operation in operations]
        self.auth_keys |= draft.auth_keys
        self.users |= draft.users
        self.registry.apply(draft.changes)
        return results

    def settle(self) -> None:
        """Judge anew what nodes offer."""
        draft = self.draft()
        draft.settle_routes()
        self.registry.apply(draft.changes)

    def node(self, operation: Operation) -> Node:
        """Carry out an operation that is accepted; return its node."""
        result = self.do(operation)[0]
        assert isinstance(result, Accepted), result
        assert result.node is not None
        return result.node

    def join(self, key: str, name: str = "node") -> Node:
        return self.node(join(key, name=name, auth_key=str(self.text)))

    def joining(self, key: str, name: str) -> list[Operation]:
        """Return what lets a node in."""
        return [join(key, name=name, auth_key=str(self.text))]

    def refusal(self, operation: Operation) -> ErrorCode:
        result = self.do(operation)[0]
        assert isinstance(result, Refused), result
        assert result.message
        return result.code


def join(
    key: str,
    *,
    name: str = "node",
    auth_key: str | None,
    session: str = "s1",
    home: str = "home",
    role: str = "node",
    routes: tuple[str, ...] = (),
    exit_: bool = False,
) -> Join:
    return Join(key, session, home, name, auth_key, role, routes, exit=exit_)
