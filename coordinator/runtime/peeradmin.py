"""The administration of plain WireGuard peers over HTTP.

``/v1/peers`` lists them; POST adds one, and is the only answer with its private key,
which is kept nowhere. ``/v1/peers/NAME`` is one of them, DELETE removes it. These are
behind the administration's bearer token. ``/v1/wg/NAME.conf`` is for the peer itself: a
router fetches what ``wg syncconf`` takes, by a secret of its own.
"""

import asyncio
import hashlib

from aiohttp import web

from coordinator.mesh.endpoints import Unreachable, parse_endpoint
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import AddPeer, Refused, Remove
from coordinator.mesh.peerconfig import config_of
from coordinator.mesh.plainpeers import (
    ConfigToken,
    find_plain_peer,
    is_token_of,
    plain_peers,
)
from coordinator.mesh.records import peer_record
from coordinator.mesh.registry import Registry
from coordinator.runtime.policyadmin import perform
from coordinator.runtime.qr import qr_text
from coordinator.runtime.worker import StoreWorker
from meshwg.errors import MeshError
from meshwg.keys import PrivateKey, format_key
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode

Json = dict[str, object]
WG_PATH = "/v1/wg/{file}"
_SUFFIX = ".conf"
FAILURE_DELAY = 1.0
"""Seconds that a wrong secret costs, so that guessing is hopeless."""
UNKNOWN = "There is no plain WireGuard peer of that name; /v1/peers lists all"
WRONG_SECRET = "There is no such configuration, or this is not its secret"


class PeerAdministration:
    """The handlers; whoever calls them has shown the bearer token.

    :param url: the coordinator's.
    """

    def __init__(
        self,
        worker: StoreWorker,
        registry: Registry,
        *,
        url: str,
        random: Random,
    ) -> None:
        self._worker = worker
        self._registry = registry
        self._url = url
        self._random = random

    async def list_all(self, _: web.Request) -> web.Response:
        """Return all plain peers."""
        registry = self._registry
        listed = [peer_record(each, registry) for each in plain_peers(registry)]
        return web.json_response({"schema": 1, "peers": listed})

    async def show(self, request: web.Request) -> web.Response:
        """Return one of them, with its configuration but for the private key."""
        peer = self._named(request)
        if peer is None:
            return _error(404, UNKNOWN)
        config = config_of(peer, self._registry)
        if isinstance(config, Unreachable):
            return _error(409, str(config))
        record = peer_record(peer, self._registry)
        answer = {"schema": 1, "peer": record, "config": config.wg_quick(), "qr": ""}
        return web.json_response(answer)

    async def add(self, request: web.Request, body: Json) -> web.Response:
        """Add one, and return all that it has to know.

        :raises MeshError: if the body makes no sense.
        """
        key, public = _keys(body, self._random)
        token = ConfigToken.generate(self._random)
        wanted = _wanted(body, public, token.digest)
        result = await perform(self._worker, wanted, request)
        if isinstance(result, Refused):
            status = 404 if result.code is ErrorCode.UNKNOWN_PEER else 409
            return _error(status, result.message)
        assert result.node is not None
        answer = added(result.node, self._registry, key)
        answer["url"] = config_url(self._url, result.node.name, token.text)
        return web.json_response({"schema": 1, **answer}, status=201)

    async def remove(self, request: web.Request) -> web.Response:
        """Remove one, whose hub cuts it off at once."""
        peer = self._named(request)
        if peer is None:
            return _error(404, UNKNOWN)
        record = peer_record(peer, self._registry)
        result = await perform(self._worker, Remove(peer.key), request)
        if isinstance(result, Refused):
            return _error(404, result.message)
        return web.json_response({"schema": 1, "peer": record})

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """Return what ``wg syncconf`` takes, to whoever has the peer's own secret."""
        name = request.match_info["file"].removesuffix(_SUFFIX)
        peer = find_plain_peer(self._registry, name)
        if peer is None or peer.expired or not is_token_of(peer, _secret(request)):
            await asyncio.sleep(FAILURE_DELAY)
            return _error(403, WRONG_SECRET)
        config = config_of(peer, self._registry)
        if isinstance(config, Unreachable):
            return _error(409, str(config))
        text = config.wg_peer()
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-store"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(text=text, headers=headers)

    def _named(self, request: web.Request) -> Node | None:
        return find_plain_peer(self._registry, request.match_info["peer"])


def added(peer: Node, registry: Registry, key: PrivateKey | None) -> Json:
    """Return what a new peer has to know: once, since nobody keeps its private key.

    :param key: ``None`` if it has one of its own already.
    :raises MeshError: if its hub has gone meanwhile.
    """
    config = config_of(peer, registry)
    if isinstance(config, Unreachable):
        raise MeshError(str(config))
    private = None if key is None else format_key(key.private_bytes)
    text = config.wg_quick(private)
    code = "" if key is None else qr_text(text)
    return {"peer": peer_record(peer, registry), "config": text, "qr": code}


def config_url(base: str, name: str, secret: str) -> str | None:
    """Return where a router fetches its configuration, ``None`` if nowhere.

    Over plain HTTP everybody on the way could read the secret.
    """
    if not base.startswith("https://"):
        return None
    return f"{base.rstrip('/')}/v1/wg/{name}{_SUFFIX}?token={secret}"


def _secret(request: web.Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return request.query.get("token", "")


def _keys(body: Json, random: Random) -> tuple[PrivateKey | None, str]:
    """Return a new private key, or none if the peer has its own, and the public one."""
    public = _text(body, "public_key")
    if public:
        return None, public
    key = PrivateKey.generate(random)
    return key, format_key(key.public_bytes)


def _wanted(body: Json, public: str, digest: str) -> AddPeer:
    """Return what a body asks for.

    :raises MeshError: if it makes no sense.
    """
    name, endpoint = _text(body, "name"), _text(body, "endpoint")
    if not name:
        raise MeshError("'name' is missing: what the peer is called in the mesh")
    if endpoint:
        try:
            parse_endpoint(endpoint)
        except ValueError as error:
            raise MeshError(str(error)) from None
    tags = body.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(each, str) for each in tags):
        raise MeshError("'tags' is a list of texts")
    return AddPeer(
        name,
        public,
        hub=_text(body, "hub"),
        full_tunnel=body.get("full_tunnel") is True,
        endpoint=endpoint,
        owner=_text(body, "owner"),
        tags=tuple(tags),
        token_digest=digest,
    )


def _text(body: Json, name: str) -> str:
    value = body.get(name) or ""
    if not isinstance(value, str):
        raise MeshError(f"'{name}' is a text")
    return value


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
