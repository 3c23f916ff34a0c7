"""A coordinator process's view of a database."""

import os
from typing import Any

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import CreateAuthKey, Join
from coordinator.mesh.registry import Registry
from coordinator.store.store import MeshConfig, Store
from meshwg.keys import format_key
from meshwg.wire.token import AuthKeyText

CONFIG = MeshConfig(format_key(bytes(range(32))))
NOW = 1_800_000_000.0


class Process:
    """A coordinator process's view of a database."""

    def __init__(self, store: Store, registry: Registry, history: NetMapHistory):
        self.store = store
        self.registry = registry
        self.history = history

    @classmethod
    async def start(cls, url: str, config: MeshConfig = CONFIG) -> "Process":
        store = await Store.open(url, config, random=os.urandom)
        return cls(store, *await store.load())

    async def do(self, *operations: Any) -> list[Any]:
        commit = await self.store.commit(operations, NOW)
        for changes in commit.changes:
            self.history.apply(changes)
        return [result for _, result in commit.outcomes]

    async def look(self) -> None:
        await self.do()


async def auth_key(process: Process, *, reusable: bool = True) -> str:
    text_ = AuthKeyText.generate(os.urandom)
    key = AuthKey.from_text(
        text_, reusable=reusable, ephemeral=False, created=NOW, lifetime=3600.0
    )
    await process.do(CreateAuthKey(key))
    return str(text_)


def join(key: str, auth_key_: str) -> Join:
    return Join(key, f"s-{key}", "home", "node", auth_key_)
