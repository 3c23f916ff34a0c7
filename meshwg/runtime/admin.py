"""The daemon's control socket: HTTP for the commands of the same machine.

Everyone who can open the socket may read; only root and the user that the daemon runs
as may change anything.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from meshwg.errors import ConfigError, MeshError, NotPermitted

SOCKET_MODE = 0o666
MAX_BODY = 64 * 1024
LAST_CONNECTIONS = 0.02
"""Seconds for the event loop to accept the connections that are queued."""
_PEER_CREDENTIALS = struct.Struct("=iII")

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Commands(Protocol):
    """What can be asked at the control socket."""

    def status(self) -> dict[str, Any]: ...
    async def netcheck(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def ping(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]: ...
    def shut_down(self) -> None: ...


class AdminServer:
    """Serves one node's commands at one Unix socket."""

    def __init__(self, commands: Commands, path: Path) -> None:
        self._commands = commands
        self._path = path
        app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY)
        app.router.add_get("/v1/status", self._status)
        app.router.add_post("/v1/netcheck", self._netcheck)
        app.router.add_post("/v1/ping", self._ping)
        app.router.add_post("/v1/down", self._down)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._inode: int | None = None

    async def start(self) -> None:
        """Listen.

        :raises ConfigError: if another daemon listens there already, or no socket can
            be made at the path.
        :raises NotPermitted: without the right to make the socket there.
        """
        sock = _listen(self._path)
        self._inode = self._path.stat().st_ino
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def close(self) -> None:
        """Remove the socket, if it is still this one, and stop listening."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        # Connections that are queued are accepted first, to be closed with the others.
        await asyncio.sleep(LAST_CONNECTIONS)
        await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._commands.status())

    async def _netcheck(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, timeout=float, lifetime=bool)
        return web.json_response(await self._commands.netcheck(body))

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        body = await _body(
            request, peer=str, count=int, until_direct=bool, timeout=float
        )
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        async with contextlib.aclosing(self._commands.ping(body)) as answers:
            try:
                async for answer in answers:
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(json.dumps(answer).encode() + b"\n")
            except MeshError as error:
                if not response.prepared:
                    raise
                await response.write(json.dumps(_error_json(error)).encode() + b"\n")
            except ConnectionError:
                logger.debug("The client that asked for pings is gone")
        return response

    async def _down(self, request: web.Request) -> web.StreamResponse:
        _require_owner(request)
        self._commands.shut_down()
        return web.json_response({})


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except MeshError as error:
        return web.json_response(_error_json(error), status=400)


def _error_json(error: MeshError) -> dict[str, str]:
    return {"error": str(error), "kind": type(error).__name__}


async def _body(request: web.Request, **fields: type) -> dict[str, Any]:
    """Return the JSON object in the body.

    :param fields: the types of those that matter; each may also be missing.
    :raises MeshError: if it is something else.
    """
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise MeshError("The request is not a JSON object")
    for name, kind in fields.items():
        value = body.get(name)
        if kind is float and type(value) is int:
            value = body[name] = float(value)
        if value is not None and type(value) is not kind:
            raise MeshError(f"The request's field {name} has the wrong type")
    return body


def _require_owner(request: web.Request) -> None:
    """Let only root and the daemon's own user change anything.

    :raises NotPermitted: for everybody else.
    """
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    user = -1
    if sock is not None:
        size = _PEER_CREDENTIALS.size
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _, user, _ = _PEER_CREDENTIALS.unpack(raw)
    if user not in (0, os.geteuid()):
        raise NotPermitted(
            "Only root and the daemon's own user may change anything: run as root"
        )


def _listen(path: Path) -> socket.socket:
    """Return a socket that listens at ``path``, in place of a dead daemon's."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(f"The directory {path.parent}", error) from None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            if sock.connect_ex(str(path)) == 0:
                raise ConfigError(
                    f"Another daemon listens at {path}: stop it with 'meshwg down', "
                    "or give this one another --control-socket"
                )
            path.unlink()
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(path))
        path.chmod(SOCKET_MODE)
        sock.listen()
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refusal(f"The control socket {path}", error) from None
    except ConfigError:
        sock.close()
        raise
    return sock


def _refusal(what: str, error: OSError) -> MeshError:
    """Return what to tell the user when the system does not let something be made."""
    # A path that is too long is found out by Python, which gives no number.
    why = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return NotPermitted(f"{what} cannot be created ({why}): run as root")
    return ConfigError(
        f"{what} cannot be created ({why}): name another one with --control-socket"
    )
