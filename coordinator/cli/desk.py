"""Where a command asks: the administration itself, on the database or over HTTP."""

import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from coordinator.administration.rights import Actor, Role, in_role
from coordinator.administration.service import Administration, Request
from coordinator.cli.common import Mesh, administrator, open_mesh
from meshwg.cli.secrets import read_secret
from meshwg.errors import ConfigError, MeshError

Record = dict[str, Any]


class _Asks(Protocol):
    async def ask(
        self,
        name: str,
        *,
        path: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes,
        if_match: str = "",
    ) -> Record:
        """Ask an endpoint; return its answer."""


class Desk:
    """Takes what a command asks, wherever that is answered."""

    def __init__(self, behind: _Asks) -> None:
        self._behind = behind

    async def ask(
        self,
        name: str,
        /,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        text: str | None = None,
        **path: str,
    ) -> Record:
        """Ask an endpoint of the administration; return its answer.

        :param query: what stays out if it is ``None``.
        :param body: the same.
        :param text: the body, where that is a text.
        :param path: what stands in the path's placeholders.
        :raises MeshError: if it is refused.
        """
        data = b"" if text is None else text.encode(errors="surrogateescape")
        if body is not None:
            kept = {key: value for key, value in body.items() if value is not None}
            data = json.dumps(kept).encode()
        answer = await self._behind.ask(
            name,
            path=path,
            query={
                key: str(value)
                for key, value in (query or {}).items()
                if value is not None
            },
            body=data,
        )
        return {key: value for key, value in answer.items() if key != "schema"}


class _OnDatabase:
    """Answers from the database, as the user of this machine."""

    def __init__(self, mesh: Mesh, actor: Actor) -> None:
        self._service = Administration(mesh, random=os.urandom, draw=_draw)
        self._actor = actor

    async def ask(
        self,
        name: str,
        *,
        path: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes,
        if_match: str = "",
    ) -> Record:
        request = Request(path, query, body, if_match)
        answer = await self._service.ask(self._actor, name, request, time.time())
        return answer.record


@asynccontextmanager
async def open_desk(
    config: Path | None = None,
    data_dir: Path | None = None,
    database: str | None = None,
    server: str | None = None,
    token_file: Path | None = None,
) -> AsyncIterator[Desk]:
    """Open the mesh that the options name, here or elsewhere.

    :raises MeshError: if there is none.
    """
    if server is not None:
        # Only here, because it imports what takes a quarter of a second.
        from coordinator.runtime.adminclient import AdministrationClient

        yield Desk(AdministrationClient(server, _token(server, token_file)))
        return
    if token_file is not None:
        raise ConfigError("--token-file goes with --server: give both")
    async with open_mesh(config, data_dir, database) as mesh:
        actor = in_role(administrator(), Role.ADMIN, states_what_it_replaces=False)
        yield Desk(_OnDatabase(mesh, actor))


def refused(error: MeshError, text: str, trouble: str) -> MeshError:
    """Return a problem of one kind in words of a command, and others as they are."""
    return MeshError(text) if getattr(error, "trouble", "") == trouble else error


def _draw(text: str) -> str:
    """Return a text as a QR code for a terminal."""
    # Only here, because few commands show one.
    from coordinator.runtime.qr import qr_text

    return qr_text(text)


def _token(server: str, file: Path | None) -> str | None:
    """Return the token for a server.

    :raises ConfigError: if it needs one and there is none.
    """
    if file is not None:
        word = "-" if str(file) == "-" else f"@{file}"
        token = read_secret(word, "API token")
        if not token.isascii() or not token.isprintable():
            raise ConfigError(f"There is no API token in {file}: name another file")
        return token
    if server.startswith("unix:"):
        return None
    raise ConfigError(
        "--server needs --token-file: name a file with an API token, which "
        "'meshwg-coordinator apitoken create' makes, or with the content of admin.token"
    )
