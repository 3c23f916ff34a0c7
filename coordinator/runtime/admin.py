"""The administration over HTTP: ``/v1/nodes``, ``/v1/tokens`` and more, by a token.

Answers are JSON. Errors are ``{"error": "one sentence"}``.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeGuard

from aiohttp import web

from coordinator.mesh.authkeys import (
    DEFAULT_LIFETIME,
    MAX_USES,
    new_auth_key,
    parse_lifetime,
)
from coordinator.mesh.operations import (
    Accepted,
    AddRecord,
    Assign,
    CreateAuthKey,
    Expire,
    Operation,
    Refused,
    Remove,
    RemoveRecord,
    Rename,
    RevokeAuthKey,
)
from coordinator.mesh.records import auth_key_record, dns_record, node_record
from coordinator.mesh.registry import Registry
from coordinator.runtime.listener import visit_of
from coordinator.runtime.peeradmin import WG_PATH, PeerAdministration
from coordinator.runtime.policyadmin import (
    PolicyAdministration,
    perform,
    read_object,
)
from coordinator.runtime.proxied import came_in_clear, is_loopback
from coordinator.runtime.routeadmin import RouteAdministration
from coordinator.runtime.worker import StoreWorker
from coordinator.store.engine import StoreError
from coordinator.store.store import Store
from meshwg.errors import MeshError
from meshwg.transmit import Random
from meshwg.wire.control import ErrorCode
from meshwg.wire.dnsrecords import DnsRecord, path_inside, read_record
from meshwg.wire.token import JoinToken

BODY_LIMIT = 16 * 1024
FAILURE_DELAY = 1.0
"""Seconds that a wrong bearer token costs, so that guessing is hopeless."""

EXPOSED = (
    "Over plain HTTP the administration answers only on the coordinator's own machine, "
    "at 127.0.0.1: use https, and make a new token (remove admin.token and restart), "
    "since anybody on the way could read this one"
)

FETCHED_IN_CLEAR = (
    "Over plain HTTP anybody on the way could read this: use https, and remove and add "
    "the peer anew, since its secret may be known now"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Administration:
    """The handlers of ``/v1/…``.

    :param token: the bearer token.
    :param url: the coordinator's URL, for join tokens.
    """

    def __init__(
        self,
        store: Store,
        worker: StoreWorker,
        registry: Registry,
        *,
        token: str,
        url: str,
        coordinator_key: bytes,
        random: Random,
    ) -> None:
        self._store = store
        self._worker = worker
        self._registry = registry
        self._policy = PolicyAdministration(store, worker, registry)
        self._peers = PeerAdministration(worker, registry, url=url, random=random)
        self._routes = RouteAdministration(worker, registry)
        self._expected = f"Bearer {token}".encode()
        self._url = url
        self.coordinator_key = coordinator_key
        """By which new nodes are to know this coordinator."""
        self._random = random

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/nodes", self._guard(self._list_nodes)),
            web.patch("/v1/nodes/{node}", self._guard(self._change_node)),
            web.post("/v1/nodes/{node}/expire", self._guard(self._expire_node)),
            web.delete("/v1/nodes/{node}", self._guard(self._remove_node)),
            web.get("/v1/tokens", self._guard(self._list_tokens)),
            web.post("/v1/tokens", self._guard(self._create_token)),
            web.delete("/v1/tokens/{number}", self._guard(self._revoke_token)),
            web.get("/v1/dns", self._guard(self._list_records)),
            web.post("/v1/dns", self._guard(self._add_record)),
            web.delete("/v1/dns/{name}", self._guard(self._remove_records)),
            web.get("/v1/peers", self._guard(self._peers.list_all)),
            web.post("/v1/peers", self._guard(self._add_peer)),
            web.get("/v1/peers/{peer}", self._guard(self._peers.show)),
            web.delete("/v1/peers/{peer}", self._guard(self._peers.remove)),
            web.get(WG_PATH, self._fetch_peer),
            web.get("/v1/routes", self._guard(self._routes.show)),
            web.post("/v1/routes/approve", self._guard(self._routes.approve)),
            web.post("/v1/routes/refuse", self._guard(self._routes.refuse)),
            web.get("/v1/policy", self._guard(self._policy.show)),
            web.put("/v1/policy", self._guard(self._policy.apply)),
            web.get("/v1/policy/history", self._guard(self._policy.history)),
            web.get("/v1/audit", self._guard(self._policy.audit)),
            web.get("/v1/users", self._guard(self._policy.users)),
            web.put("/v1/users/{user}", self._guard(self._policy.add_user)),
            web.delete("/v1/users/{user}", self._guard(self._policy.disable_user)),
        ]

    def _guard(self, handler: Handler) -> Handler:
        """Return the handler behind the bearer token, its errors as JSON."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if is_exposed(request):
                return _error(403, EXPOSED)
            # A header is bytes, which need not be text in any encoding.
            header = request.headers.get("Authorization", "")
            given = header.encode(errors="surrogateescape")
            if not hmac.compare_digest(given, self._expected):
                await asyncio.sleep(FAILURE_DELAY)
                return _error(401, "The bearer token is wrong; it is in admin.token")
            try:
                return await handler(request)
            except StoreError as error:
                return _error(503, str(error))
            except MeshError as error:
                return _error(400, str(error))

        return guarded

    async def _list_nodes(self, _: web.Request) -> web.Response:
        networks = self._registry.networks
        nodes = sorted(self._registry.nodes.values(), key=lambda node: node.name)
        return web.json_response(
            {"schema": 1, "nodes": [node_record(node, networks) for node in nodes]}
        )

    async def _change_node(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        node = request.match_info["node"]
        if "owner" in body and "tags" in body:
            assign = Assign(node, _owner(body), _tags(body))
            return await self._perform(assign, request)
        name = body.get("name")
        if not isinstance(name, str):
            return _error(
                400,
                'The body must be {"name": "NAME"} or {"owner": "USER", "tags": []}',
            )
        return await self._perform(Rename(node, name), request)

    async def _expire_node(self, request: web.Request) -> web.Response:
        return await self._perform(Expire(request.match_info["node"]), request)

    async def _remove_node(self, request: web.Request) -> web.Response:
        return await self._perform(Remove(request.match_info["node"]), request)

    async def _perform(
        self, operation: Operation, request: web.Request
    ) -> web.Response:
        match await perform(self._worker, operation, request):
            case Refused() as refused:
                return _refusal(refused)
            case Accepted(node=node) if node is not None:
                record = node_record(node, self._registry.networks)
                return web.json_response({"schema": 1, "node": record})
            case Accepted():
                return web.json_response({"schema": 1})

    async def _list_tokens(self, _: web.Request) -> web.Response:
        now = time.time()
        keys = await self._store.auth_keys()
        tokens = [auth_key_record(key, now) for key in keys]
        return web.json_response({"schema": 1, "tokens": tokens})

    async def _create_token(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        now = time.time()
        uses = body.get("uses")
        if uses is not None and not _is_number_of_uses(uses):
            return _error(400, f"'uses' is a whole number from 1 to {MAX_USES}")
        text, key = new_auth_key(
            self._random,
            reusable=body.get("reusable") is True if uses is None else uses > 1,
            limit=uses,
            ephemeral=body.get("ephemeral") is True,
            hub=body.get("hub") is True,
            created=now,
            lifetime=parse_lifetime(str(body.get("expires", DEFAULT_LIFETIME))),
            owner=_owner(body),
            tags=_tags(body),
        )
        result = await perform(self._worker, CreateAuthKey(key), request)
        if isinstance(result, Refused):
            return _refusal(result)
        token = str(JoinToken(self._url, self.coordinator_key, text))
        record = auth_key_record(key, now)
        return web.json_response({"schema": 1, "token": token, **record}, status=201)

    async def _revoke_token(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        match await perform(self._worker, RevokeAuthKey(number), request):
            case Refused() as refused:
                return _refusal(refused)
            case Accepted(auth_key=key):
                assert key is not None
                record = auth_key_record(key, time.time())
                return web.json_response({"schema": 1, **record})

    async def _add_peer(self, request: web.Request) -> web.Response:
        return await self._peers.add(request, await read_object(request))

    async def _fetch_peer(self, request: web.Request) -> web.StreamResponse:
        """Answer a plain peer, which has a secret of its own."""
        if is_exposed(request):
            return _error(403, FETCHED_IN_CLEAR)
        return await self._peers.fetch(request)

    async def _list_records(self, _: web.Request) -> web.Response:
        records = self._registry.records.records
        return self._records_response(records)

    async def _add_record(self, request: web.Request) -> web.Response:
        body = await read_object(request)
        words = [body.get(each) for each in ("name", "type", "value")]
        name, kind, value = (each if isinstance(each, str) else "" for each in words)
        try:
            record = read_record(name, kind, value, self._registry.domain)
        except ValueError as error:
            return _error(400, f"There is no such record: {error}")
        return await self._change_records(AddRecord(record), request, status=201)

    async def _remove_records(self, request: web.Request) -> web.Response:
        kind, value = request.query.get("type"), request.query.get("value")
        name = path_inside(request.match_info["name"], self._registry.domain)
        kind = None if kind is None else kind.upper()
        operation = RemoveRecord(name, kind, value)
        return await self._change_records(operation, request)

    async def _change_records(
        self,
        operation: AddRecord | RemoveRecord,
        request: web.Request,
        status: int = 200,
    ) -> web.Response:
        match await perform(self._worker, operation, request):
            case Refused() as refused:
                return _refusal(refused)
            case Accepted(records=records):
                return self._records_response(records, status)

    def _records_response(
        self, records: Iterable[DnsRecord], status: int = 200
    ) -> web.Response:
        domain = self._registry.domain
        listed = [dns_record(each, domain) for each in records]
        answer = {"schema": 1, "domain": domain, "records": listed}
        return web.json_response(answer, status=status)


def is_exposed(request: web.Request) -> bool:
    """Return whether somebody on the way can read a request, and the answer.

    A proxy on this machine that passes a connection on as it is has got it over the
    network.
    """
    visit = visit_of(request)
    is_forwarded = visit is not None and visit.forwarded_for is not None
    return not is_confidential(
        request.transport, is_forwarded=is_forwarded
    ) or came_in_clear(request)


def is_confidential(
    transport: asyncio.BaseTransport | None, *, is_forwarded: bool = False
) -> bool:
    """Return whether nobody else on the way can read what goes through a connection.

    That is so with TLS, and where both ends are on this machine.

    :param is_forwarded: whether its other end is only a proxy's.
    """
    if transport is None:
        return False
    if transport.get_extra_info("sslcontext") is not None:
        return True
    if is_forwarded:
        return False
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        # A Unix socket, whose ends have no addresses.
        return isinstance(peer, str | bytes)
    return bool(peer) and is_loopback(str(peer[0]))


def _owner(body: dict[str, object]) -> str:
    """Return the user whose nodes are meant, empty for nobody.

    :raises MeshError: if it is no text.
    """
    owner = body.get("owner") or ""
    if not isinstance(owner, str):
        raise MeshError("'owner' is the name of a user")
    return owner


def _tags(body: dict[str, object]) -> tuple[str, ...]:
    """Return the tags of nodes.

    :raises MeshError: if they are no list of texts.
    """
    tags = body.get("tags") or []
    if not isinstance(tags, list):
        raise MeshError("'tags' is a list of texts")
    found = tuple(each for each in tags if isinstance(each, str))
    if len(found) < len(tags):
        raise MeshError("'tags' is a list of texts")
    return found


def _is_number_of_uses(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= MAX_USES


def _refusal(refused: Refused) -> web.Response:
    missing = refused.code in (ErrorCode.UNKNOWN_PEER, ErrorCode.TOKEN_UNKNOWN)
    return _error(404 if missing else 409, refused.message)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
