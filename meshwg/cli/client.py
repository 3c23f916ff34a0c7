"""Talking to the daemon: HTTP over its control socket, with the standard library."""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Generator, Iterator
from typing import Any

import click

from meshwg.errors import (
    ConfigError,
    DaemonNotRunning,
    MeshError,
    NotJoined,
    NotPermitted,
)

CROWD_PATIENCE = 5.0
"""Seconds to wait while others fill the daemon's queue of connections."""
DEFAULT_SOCKET = "/run/meshwg/meshwg.sock"

control_socket_option = click.option(
    "--control-socket",
    default=DEFAULT_SOCKET,
    envvar="MESHWG_CONTROL_SOCKET",
    show_default=True,
    metavar="PATH",
    help="The daemon's socket.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs."
)

KINDS = (MeshError, ConfigError, NotJoined, NotPermitted)
"""What a daemon may answer instead of what was asked for."""

_ERRORS = {error.__name__: error for error in KINDS}


def peer_names(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of peers that a shell may complete a word to."""
    path = ctx.params.get("control_socket") or DEFAULT_SOCKET
    try:
        peers = DaemonClient(path, timeout=1.0).get("/v1/status")["peers"]
    except MeshError:
        return []
    return [peer["name"] for peer in peers if peer["name"].startswith(incomplete)]


class DaemonClient:
    """Requests to one daemon.

    :param timeout: seconds to wait for each part of an answer, ``None`` for no limit.
    """

    def __init__(self, path: str, timeout: float | None = 10.0) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object behind ``path``.

        :raises MeshError: what the daemon says is wrong, or that there is none.
        """
        with self._request("GET", path, None) as response:
            return self._object(response)

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the daemon to do something and return its answer."""
        with self._request("POST", path, body or {}) as response:
            return self._object(response)

    def stream(
        self, path: str, body: dict[str, Any] | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """Ask the daemon for a stream and yield its objects, one a line."""
        method = "GET" if body is None else "POST"
        with self._request(method, path, body) as response:
            for line in response:
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise _error(answer)
                yield answer

    def _object(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(response.read())
        except ValueError:
            raise MeshError(
                f"What answers at {self._path} is not a meshwg daemon: "
                "name another socket with --control-socket"
            ) from None
        return answer

    @contextlib.contextmanager
    def _request(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; errors here and in the block are explained."""
        connection = _UnixConnection(self._path, self._timeout)
        try:
            data = None if body is None else json.dumps(body)
            # A daemon that refuses may answer before it has heard everything.
            with contextlib.suppress(BrokenPipeError):
                connection.request(method, path, data)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise self._refusal(response)
            yield response
        except PermissionError:
            raise NotPermitted(
                f"No permission to open the daemon's socket {self._path}: run as root"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise DaemonNotRunning(
                f"No meshwg daemon listens at {self._path}: start one with "
                "'meshwg node', or name its socket with --control-socket"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MeshError(
                f"The daemon at {self._path} does not answer ({error}): look at its log"
            ) from None
        finally:
            connection.close()

    def _refusal(self, response: http.client.HTTPResponse) -> MeshError:
        default = {"error": f"The daemon says {response.status} {response.reason}"}
        return _error(default | self._object(response))


def _error(answer: dict[str, Any]) -> MeshError:
    return _ERRORS.get(answer.get("kind", ""), MeshError)(answer["error"])


def _connect(sock: socket.socket, path: str) -> None:
    """Connect, and wait while the daemon's queue is full, which no time-out is for.

    :raises OSError: if that is not possible.
    """
    deadline = time.monotonic() + CROWD_PATIENCE
    while True:
        try:
            sock.connect(path)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            _connect(sock, self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock
