"""The administration of a mesh from elsewhere, over its REST interface."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from coordinator.administration.endpoints import ENDPOINTS, PLACEHOLDER
from coordinator.administration.problems import Problem, Trouble, problem_in
from coordinator.runtime.proxied import is_loopback
from meshwg.errors import ConfigError, CoordinatorError

UNIX = "unix:"
TIMEOUT = 130.0
"""Seconds for one request: a little more than a coordinator takes for the largest."""
MAX_ANSWER = 256 << 20
"""Bytes of the largest answer, a list of everything."""
CHUNK = 1 << 16

IN_CLEAR = (
    "Over plain HTTP anybody on the way could read the token: give --server as "
    "https://…, or on the coordinator's own machine as http://127.0.0.1:PORT or "
    "unix:PATH"
)


class AdministrationClient:
    """Asks the administration of a coordinator that runs somewhere.

    :param server: its URL, or ``unix:PATH``.
    :param token: ``None`` where none is needed.
    :raises ConfigError: if the URL is none, or the token could be read on the way.
    """

    def __init__(self, server: str, token: str | None) -> None:
        self._socket = server.removeprefix(UNIX) if server.startswith(UNIX) else None
        self._server = server
        self._base = "http://coordinator" if self._socket else _checked(server)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def ask(
        self,
        name: str,
        *,
        path: Mapping[str, str],
        query: Mapping[str, str],
        body: bytes,
        if_match: str = "",
    ) -> dict[str, Any]:
        """Ask an endpoint; return its answer.

        :raises Problem: if it is refused.
        :raises CoordinatorError: if nobody answers, or something else does.
        """
        endpoint = ENDPOINTS[name]
        where = PLACEHOLDER.sub(lambda found: quote(path[found[1]], ""), endpoint.path)
        text = self._base + where + (f"?{urlencode(query)}" if query else "")
        headers = self._headers | ({"If-Match": if_match} if if_match else {})
        if body:
            headers["Content-Type"] = (
                "application/toml" if endpoint.takes_text else "application/json"
            )
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                aiohttp.ClientSession(connector=self._connector()) as session,
                session.request(
                    endpoint.method,
                    text,
                    data=body or None,
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                answer = _parsed(await _read(response))
                if response.status >= 300:
                    raise problem_in(answer, response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ssl.SSLError) as error:
            raise CoordinatorError(self._explain(error)) from None
        if not isinstance(answer, dict):
            raise CoordinatorError(
                f"What answers at {self._server} is no coordinator: give its URL with "
                "--server"
            )
        return answer

    def _connector(self) -> aiohttp.BaseConnector:
        if self._socket is not None:
            return aiohttp.UnixConnector(path=self._socket)
        return aiohttp.TCPConnector()

    def _explain(self, error: Exception) -> str:
        why = str(error) or "it does not answer in time"
        if isinstance(error, OSError) and error.strerror:
            why = error.strerror
        return (
            f"The coordinator at {self._server} cannot be reached ({why}): see whether "
            "it runs, and whether the URL is right"
        )


def _checked(server: str) -> str:
    try:
        parts = urlsplit(server)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query:
        raise ConfigError(
            f"--server {server} is no coordinator: write https://HOST:PORT or unix:PATH"
        )
    if parts.scheme == "http" and not (is_loopback(host) or host == "localhost"):
        raise Problem(403, Trouble.EXPOSED, IN_CLEAR)
    return server.rstrip("/")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return an answer.

    :raises CoordinatorError: if it is too large to be one.
    """
    data = bytearray()
    async for part in response.content.iter_chunked(CHUNK):
        data += part
        if len(data) > MAX_ANSWER:
            raise CoordinatorError("The answer is too large: ask for less at once")
    return bytes(data)


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
