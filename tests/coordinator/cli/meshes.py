"""A mesh in a data directory, as a coordinator that was stopped has left it."""

import asyncio
import json
import os
import time
from pathlib import Path

from coordinator.mesh.authkeys import AuthKey, new_auth_key
from coordinator.mesh.operations import (
    Accepted,
    Approve,
    CreateAuthKey,
    Join,
    Operation,
    Remove,
    SetUrl,
)
from coordinator.runtime.files import DataDirectory
from coordinator.store.store import MeshConfig, Store
from meshwg.keys import format_key
from meshwg.wire.token import AuthKeyText

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
            text, key = _new_key()
            joining = Join(name, f"session of {name}", "home", name, str(text))
            self.perform(CreateAuthKey(key), joining)

    def join_hub(self, name: str, public: str = "203.0.113.9:41641") -> None:
        """Let a hub in that can be reached from outside."""
        text, key = _new_key()
        nat = {"public": public, "mapping": "none", "filtering": "endpoint-independent"}
        joining = Join(
            name,
            f"session of {name}",
            "home",
            name,
            str(text),
            role="hub",
            nat=json.dumps({"ipv4": nat}),
        )
        self.perform(CreateAuthKey(key), joining, Approve(name, "hub"))

    def remove(self, name: str) -> None:
        """End the membership of a node."""
        self.perform(Remove(name))

    def start_once(self, url: str = URL) -> None:
        """Note the URL that tokens carry, as each start of a coordinator does."""
        self.perform(SetUrl(url))

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


def _new_key() -> tuple[AuthKeyText, AuthKey]:
    """Return an auth key for one node."""
    return new_auth_key(
        os.urandom,
        reusable=False,
        ephemeral=False,
        created=time.time(),
        lifetime=60.0,
    )
