"""A mesh in a data directory, as a coordinator that was stopped has left it."""

import asyncio
import os
import time
from pathlib import Path

from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import (
    Accepted,
    CreateAuthKey,
    Join,
    Operation,
    SetUrl,
)
from coordinator.runtime.files import DataDirectory
from coordinator.store.store import MeshConfig, Store
from meshwg.keys import format_key

URL = "http://192.0.2.1:8443"


class StoppedMesh:
    """Changes the database as a running coordinator would."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = DataDirectory(data_dir, os.urandom)
        self._directory.create()
        self._directory.private_key()

    def perform(self, *operations: Operation) -> None:
        """Carry operations out, all of which are accepted."""
        asyncio.run(self._perform(operations))

    def join(self, *names: str) -> None:
        """Let nodes in by one auth key each; their keys are their names."""
        for name in names:
            text, key = new_auth_key(
                os.urandom,
                reusable=False,
                ephemeral=False,
                created=time.time(),
                lifetime=60.0,
            )
            joining = Join(name, f"session of {name}", "home", name, str(text))
            self.perform(CreateAuthKey(key), joining)

    def start_once(self) -> None:
        """Note the URL that tokens carry, as each start of a coordinator does."""
        self.perform(SetUrl(URL))

    async def _perform(self, operations: tuple[Operation, ...]) -> None:
        public_key = format_key(self._directory.private_key().public_bytes)
        store = await Store.open(
            self._directory.default_database,
            MeshConfig(public_key),
            random=os.urandom,
        )
        try:
            await store.load()
            commit = await store.commit(operations, time.time())
        finally:
            await store.close()
        for _, result in commit.outcomes:
            assert isinstance(result, Accepted), result
