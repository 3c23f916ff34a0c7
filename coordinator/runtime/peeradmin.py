"""What plain WireGuard peers fetch over HTTP: ``/v1/wg/NAME.conf``.

A router fetches what ``wg syncconf`` takes, by a secret of its own.
"""

import asyncio
import hashlib

from aiohttp import web

from coordinator.administration.peers import SUFFIX
from coordinator.administration.problems import MEDIA_TYPE, Problem, Trouble, record_of
from coordinator.mesh.endpoints import Unreachable
from coordinator.mesh.peerconfig import config_of
from coordinator.mesh.plainpeers import find_plain_peer, is_token_of
from coordinator.mesh.registry import Registry

WG_PATH = "/v1/wg/{file}"
FAILURE_DELAY = 1.0
"""Seconds that a wrong secret costs, so that guessing is hopeless."""
WRONG_SECRET = "There is no such configuration, or this is not its secret"


class PeerConfigs:
    """Answers plain peers, each of which has a secret of its own."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """Return what ``wg syncconf`` takes, to whoever has the peer's own secret."""
        name = request.match_info["file"].removesuffix(SUFFIX)
        peer = find_plain_peer(self._registry, name)
        if peer is None or peer.expired or not is_token_of(peer, _secret(request)):
            await asyncio.sleep(FAILURE_DELAY)
            return _answer(Problem(403, Trouble.WRONG_TOKEN, WRONG_SECRET))
        config = config_of(peer, self._registry)
        if isinstance(config, Unreachable):
            return _answer(Problem(409, Trouble.REFUSED, str(config)))
        text = config.wg_peer()
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-store"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(text=text, headers=headers)


def _secret(request: web.Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return request.query.get("token", "")


def _answer(problem: Problem) -> web.Response:
    return web.json_response(
        record_of(problem), status=problem.status, content_type=MEDIA_TYPE
    )
