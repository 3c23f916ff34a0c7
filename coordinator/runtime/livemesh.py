"""The mesh of a running coordinator, as its administration sees it."""

from collections.abc import Sequence

from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.audit import AuditRow
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.flows import Flow
from coordinator.mesh.operations import Administered, Result
from coordinator.mesh.policies import PolicyVersion, User
from coordinator.mesh.registry import Registry
from coordinator.runtime.worker import StoreWorker
from coordinator.store.store import Store


class LiveMesh:
    """Looks into the registry and the database, and changes by the one worker.

    :param address: the coordinator's URL, for join tokens.
    :param relays: URLs of relays, and whether each is the coordinator's own.
    """

    def __init__(
        self,
        store: Store,
        worker: StoreWorker,
        registry: Registry,
        *,
        address: str,
        coordinator_key: bytes,
        relays: Sequence[tuple[str, bool]],
    ) -> None:
        self._store = store
        self._worker = worker
        self.members = registry
        self.address = address
        self.coordinator_key = coordinator_key
        """By which new nodes are to know this coordinator."""
        self.relays = relays

    async def urls(self) -> list[str]:
        others = await self._store.coordinator_urls()
        return list(dict.fromkeys([self.address, *others]))

    async def registry(self) -> Registry:
        return self.members

    async def auth_keys(self) -> list[AuthKey]:
        return await self._store.auth_keys()

    async def api_tokens(self) -> list[ApiToken]:
        return await self._store.api_tokens()

    async def api_token(self, number: str) -> ApiToken | None:
        """Return the API token of a number."""
        return await self._store.api_token(number)

    async def users(self) -> list[User]:
        return await self._store.users()

    async def policies(self) -> list[PolicyVersion]:
        return await self._store.policies()

    async def flows(self) -> dict[Flow, float]:
        return await self._store.flows()

    async def audit(
        self, after: int = 0, since: float = 0.0, limit: int | None = None
    ) -> list[AuditRow]:
        return await self._store.audit(after, since, limit)

    async def perform(self, operation: Administered) -> Result:
        return await self._worker.request(operation)
