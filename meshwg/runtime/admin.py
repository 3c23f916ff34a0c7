"""The daemon's control socket: HTTP for the commands of the same machine.

Everyone who can open the socket may read; only root and the user that the daemon runs
as may change anything.
"""

import asyncio
import contextlib
import json
import math
import socket
import stat
from collections.abc import AsyncGenerator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.runtime.httpserver import Handler, HttpAnswer, HttpRequest, HttpServer
from meshwg.runtime.visitors import is_owner

SOCKET_MODE = 0o666
DIRECTORY_MODE = 0o755
MAX_BODY = 64 * 1024
BACKLOG = 1024
"""Connections that may wait to be accepted, also while somebody makes very many."""


class Commands(Protocol):
    """What can be asked at the control socket."""

    def status(self, *, brief: bool = False) -> Iterator[bytes]: ...
    async def netcheck(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def ping(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]: ...
    async def join(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def why(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def trust(self) -> dict[str, Any]: ...
    def accept(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def exits(self) -> dict[str, Any]: ...
    async def use_exit(self, request: dict[str, Any]) -> dict[str, Any]: ...
    async def exit_off(self) -> dict[str, Any]: ...
    def routes(self) -> dict[str, Any]: ...
    def add_route(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def remove_route(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def hold_route(self, request: dict[str, Any]) -> dict[str, Any]: ...
    async def use_lease(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def dns(self) -> dict[str, Any]: ...
    async def dns_query(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def shut_down(self) -> None: ...
    def go_up(self) -> None: ...
    def leave(self) -> dict[str, Any]: ...


class AdminServer:
    """Serves one node's commands at one Unix socket."""

    def __init__(self, commands: Commands, path: Path) -> None:
        self._commands = commands
        self._path = path
        self._server = HttpServer(self._handle, MAX_BODY)
        self._inode: int | None = None
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/status": ("GET", self._status),
            "/v1/status/brief": ("GET", self._brief_status),
            "/v1/netcheck": ("POST", self._netcheck),
            "/v1/ping": ("POST", self._ping),
            "/v1/why": ("POST", self._why),
            "/v1/join": ("POST", self._join),
            "/v1/trust": ("GET", self._trust),
            "/v1/trust/accept": ("POST", self._accept),
            "/v1/exit": ("GET", self._exits),
            "/v1/exit/use": ("POST", self._use_exit),
            "/v1/exit/off": ("POST", self._exit_off),
            "/v1/routes": ("GET", self._list_routes),
            "/v1/routes/add": ("POST", self._add_route),
            "/v1/routes/remove": ("POST", self._remove_route),
            "/v1/routes/hold": ("POST", self._hold_route),
            "/v1/lease": ("POST", self._use_lease),
            "/v1/dns": ("GET", self._dns),
            "/v1/dns/query": ("POST", self._dns_query),
            "/v1/down": ("POST", self._down),
            "/v1/up": ("POST", self._up),
            "/v1/leave": ("POST", self._leave),
        }

    async def start(self) -> None:
        """Listen.

        :raises ConfigError: if another daemon listens there already, or no socket can
            be made at the path.
        :raises NotPermitted: without the right to make the socket there.
        """
        sock = _listen(self._path)
        self._inode = self._path.stat().st_ino
        await self._server.start(sock)

    async def close(self) -> None:
        """Remove the socket, if it is still this one, and stop listening."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        await self._server.close()

    async def _handle(self, request: HttpRequest) -> HttpAnswer:
        method, handler = self._routes.get(request.path, ("", None))
        if handler is None:
            return _json({"error": "There is no such command"}, HTTPStatus.NOT_FOUND)
        if request.method != method:
            wrong = {"error": f"This command is asked for by {method}"}
            return _json(wrong, HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return await handler(request)
        except MeshError as error:
            return _json(_error_json(error), HTTPStatus.BAD_REQUEST)

    async def _status(self, request: HttpRequest) -> HttpAnswer:
        return _answer_in_parts(self._commands.status())

    async def _brief_status(self, request: HttpRequest) -> HttpAnswer:
        return _answer_in_parts(self._commands.status(brief=True))

    async def _netcheck(self, request: HttpRequest) -> HttpAnswer:
        body = _body(request, timeout=float, lifetime=bool, fresh=bool)
        return _json(await self._commands.netcheck(body))

    async def _ping(self, request: HttpRequest) -> HttpAnswer:
        body = _body(request, peer=str, count=int, until_direct=bool, timeout=float)
        answers = self._commands.ping(body)
        try:
            # What is wrong with the request shows before the first answer.
            first = await anext(answers, None)
        except BaseException:
            await answers.aclose()
            raise
        return HttpAnswer(
            b"" if first is None else _line(first),
            content_type="application/x-ndjson",
            more=_lines(answers),
        )

    async def _why(self, request: HttpRequest) -> HttpAnswer:
        return _json(self._commands.why(_body(request, target=str, port=str)))

    async def _join(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        body = _body(request, token=str, timeout=float, new_key=bool)
        return _json(await self._commands.join(body))

    async def _trust(self, request: HttpRequest) -> HttpAnswer:
        return _json(self._commands.trust())

    async def _accept(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        return _json(self._commands.accept(_body(request, name=str, key=str)))

    async def _exits(self, request: HttpRequest) -> HttpAnswer:
        return _json(self._commands.exits())

    async def _use_exit(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        return _json(await self._commands.use_exit(_body(request, name=str, lan=bool)))

    async def _exit_off(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        return _json(await self._commands.exit_off())

    async def _list_routes(self, request: HttpRequest) -> HttpAnswer:
        return _json(self._commands.routes())

    async def _add_route(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        return _json(self._commands.add_route(_body(request, route=str)))

    async def _remove_route(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        return _json(self._commands.remove_route(_body(request, route=str)))

    async def _hold_route(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        body = _body(request, route=str, seconds=float)
        return _json(self._commands.hold_route(body))

    async def _use_lease(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        body = _body(request, prefix=str, base=int, term=dict)
        return _json(await self._commands.use_lease(body))

    async def _dns(self, request: HttpRequest) -> HttpAnswer:
        return _json(self._commands.dns())

    async def _dns_query(self, request: HttpRequest) -> HttpAnswer:
        body = _body(request, name=str, type=str)
        return _json(await self._commands.dns_query(body))

    async def _down(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        self._commands.shut_down()
        return _json({})

    async def _up(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        self._commands.go_up()
        return _json({})

    async def _leave(self, request: HttpRequest) -> HttpAnswer:
        _require_owner(request)
        return _json(self._commands.leave())


def _answer_in_parts(parts: Iterator[bytes]) -> HttpAnswer:
    """Return a long answer; what is wrong shows before its first part."""
    return HttpAnswer(next(parts), more=_taking_turns(parts))


async def _taking_turns(parts: Iterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield parts of an answer, and let everything else go on between them."""
    for part in parts:
        yield part
        await asyncio.sleep(0)


async def _lines(
    answers: AsyncGenerator[dict[str, Any]],
) -> AsyncGenerator[bytes]:
    """Yield answers as lines; an error is the last of them."""
    async with contextlib.aclosing(answers):
        try:
            async for answer in answers:
                yield _line(answer)
        except MeshError as error:
            yield _line(_error_json(error))


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _json(answer: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> HttpAnswer:
    return HttpAnswer(json.dumps(answer).encode(), status)


def _error_json(error: MeshError) -> dict[str, str]:
    return {"error": str(error), "kind": type(error).__name__}


def _body(request: HttpRequest, **fields: type) -> dict[str, Any]:
    """Return the JSON object in the body.

    :param fields: the types of those that matter; each may also be missing.
    :raises MeshError: if it is something else.
    """
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise MeshError("The request is not a JSON object")
    for name, kind in fields.items():
        value = body.get(name)
        if kind is float and type(value) is int:
            value = body[name] = float(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise MeshError(f"The request's field {name} is not a number of seconds")
        if value is not None and type(value) is not kind:
            raise MeshError(f"The request's field {name} has the wrong type")
    return body


def _require_owner(request: HttpRequest) -> None:
    """Let only root and the daemon's own user change anything.

    :raises NotPermitted: for everybody else.
    """
    if not is_owner(request.user):
        raise NotPermitted(
            "Only root and the daemon's own user may change anything: run as root"
        )


def _listen(path: Path) -> socket.socket:
    """Return a socket that listens at ``path``, in place of a dead daemon's."""
    try:
        _make_directory(path.parent)
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
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refusal(f"The control socket {path}", error) from None
    except ConfigError:
        sock.close()
        raise
    return sock


def _make_directory(path: Path) -> None:
    """Make a directory that all users may look into, whatever the umask is.

    What is there already stays as somebody has made it.
    """
    if not path.is_dir():
        _make_directory(path.parent)
        path.mkdir(exist_ok=True)
        path.chmod(DIRECTORY_MODE)


def _refusal(what: str, error: OSError) -> MeshError:
    """Return what to tell the user when the system does not let something be made."""
    # A path that is too long is found out by Python, which gives no number.
    why = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return NotPermitted(f"{what} cannot be created ({why}): run as root")
    return ConfigError(
        f"{what} cannot be created ({why}): name another one with --control-socket"
    )
