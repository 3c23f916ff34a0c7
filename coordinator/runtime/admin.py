"""The administration over HTTP: ``/v1/…``, by a token or a Unix socket of its own.

What can be asked, and by whom, stands in :mod:`coordinator.administration`. Here it is
found out who asks and whether nobody can listen, and what is sent is read within
limits.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from coordinator.administration.attempts import FROM, FailedAttempts
from coordinator.administration.endpoints import ENDPOINTS, Endpoint
from coordinator.administration.events import EventLog
from coordinator.administration.openapi import DOCUMENT_PATH, EVENTS_PATH, document
from coordinator.administration.problems import (
    MEDIA_TYPE,
    Problem,
    Trouble,
    malformed,
    problem_of,
    record_of,
)
from coordinator.administration.rights import Actor, Role, Scope, in_role, token_actor
from coordinator.administration.service import Administration, Request, require
from coordinator.mesh.apitokens import ApiTokenText, opens
from coordinator.mesh.registry import Registry
from coordinator.policy.document import MAX_TEXT
from coordinator.runtime.adminsocket import user_behind
from coordinator.runtime.eventstream import EventStream
from coordinator.runtime.listener import visit_of
from coordinator.runtime.livemesh import LiveMesh
from coordinator.runtime.peeradmin import WG_PATH, PeerConfigs
from coordinator.runtime.proxied import address_of, came_in_clear, is_loopback
from coordinator.runtime.qr import qr_text
from coordinator.runtime.worker import ADMINISTRATION
from coordinator.store.engine import StoreError
from meshwg import __version__
from meshwg.errors import MeshError
from meshwg.transmit import Random

BODY_LIMIT = 16 * 1024
"""Bytes of a JSON object."""
MAX_UPLOAD = 16 * MAX_TEXT
"""Bytes of a body that is too long and is read all the same, so that its sender reads
why it is refused; whoever sends more is cut."""
FAILURE_DELAY = 1.0
"""Seconds that a wrong bearer token costs, so that guessing is hopeless."""
RETRY_AFTER = 60
"""Seconds that who has sent too many wrong tokens is told to wait."""
API = "/v1/"
NO_API = ("/v1/control",)
"""Paths that are none of the administration's."""

EXPOSED = (
    "Over plain HTTP the administration answers only on the coordinator's own machine, "
    "at 127.0.0.1, and inside the mesh: use https, and make a new token (remove "
    "admin.token and restart), since anybody on the way could read this one"
)
FETCHED_IN_CLEAR = (
    "Over plain HTTP anybody on the way could read this: use https, and remove and add "
    "the peer anew, since its secret may be known now"
)
WRONG_TOKEN = (
    "The bearer token is wrong: it is in admin.token, or made by 'meshwg-coordinator "
    "apitoken create'"
)
TOO_MANY = (
    "Too many wrong tokens came from here, or were tried for this one: wait a minute, "
    "and use the right one"
)
UTF8 = ("utf-8", "utf8", "us-ascii")

ApiHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ActorHandler = Callable[[web.Request, Actor], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


class AdministrationApi:
    """The handlers of ``/v1/…``.

    :param token: the bearer token of ``admin.token``, which may do everything.
    :param is_proxied: whether a proxy is expected in front.
    """

    def __init__(
        self,
        mesh: LiveMesh,
        events: EventLog,
        *,
        token: str,
        is_proxied: bool,
        random: Random,
    ) -> None:
        self.mesh = mesh
        self.attempts = FailedAttempts()
        self._service = Administration(mesh, random=random, draw=qr_text)
        self._peers = PeerConfigs(mesh.members)
        self._stream = EventStream(events, mesh.members)
        self._expected = f"Bearer {token}".encode()
        self._is_proxied = is_proxied
        self._document = json.dumps(document(__version__)).encode()

    def routes(self) -> list[web.RouteDef]:
        return [
            *map(self._route, ENDPOINTS.values()),
            web.get(EVENTS_PATH, self._guard(self._follow)),
            web.get(DOCUMENT_PATH, self._show_document),
            web.get(WG_PATH, self._fetch_peer),
        ]

    def _route(self, endpoint: Endpoint) -> web.RouteDef:
        handler = self._guard(self._handler(endpoint))
        if endpoint.method == "GET":
            # It answers HEAD as well.
            return web.get(endpoint.path, handler)
        return web.route(endpoint.method, endpoint.path, handler)

    def note(self) -> None:
        """Let those who follow have what the log of events has now."""
        self._stream.note()

    async def stop(self, _: web.Application) -> None:
        """End what has no end by itself."""
        self._stream.stop()

    def _guard(self, handler: ActorHandler) -> ApiHandler:
        """Return a handler behind the question who asks, its errors as problems."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request, await self._identify(request))
            except StoreError as error:
                return answer_of(Problem(503, Trouble.DATABASE, str(error)))
            except MeshError as error:
                return answer_of(problem_of(error))

        return guarded

    def _handler(self, endpoint: Endpoint) -> ActorHandler:
        async def handle(request: web.Request, actor: Actor) -> web.StreamResponse:
            # Before any of the body is read, so that nobody sends much for nothing.
            require(actor, endpoint.scope)
            asked = Request(
                request.match_info,
                request.query,
                await _body(request, endpoint),
                request.headers.get("If-Match", ""),
            )
            answer = await self._service.ask(actor, endpoint.name, asked, time.time())
            headers = {"Cache-Control": "no-store"}
            if answer.etag and endpoint.has_etag:
                headers["ETag"] = f'"{answer.etag}"'
            return web.json_response(
                {"schema": 1, **answer.record}, status=endpoint.status, headers=headers
            )

        return handle

    async def _identify(self, request: web.Request) -> Actor:
        """Return who asks.

        :raises Problem: if that is nobody, or if others can listen.
        """
        is_inside = is_between_members(request.transport, self.mesh.members)
        if came_in_clear(request) or not (
            is_inside or is_confidential(request.transport)
        ):
            raise Problem(403, Trouble.EXPOSED, EXPOSED)
        user = user_behind(request)
        if user is not None:
            return in_role(user, Role.ADMIN)
        address = address_of(request, is_proxied=self._is_proxied)
        actor, account = await self._judge(request, address)
        if actor is None:
            raise await self._turn_away(address, account)
        return actor

    async def _judge(
        self, request: web.Request, address: str
    ) -> tuple[Actor | None, str]:
        """Return whose token a request shows, or else for what it may be meant."""
        # A header is bytes, which need not be text in any encoding.
        header = request.headers.get("Authorization", "")
        given = header.encode(errors="surrogateescape")
        if hmac.compare_digest(given, self._expected):
            known = in_role(
                ADMINISTRATION,
                Role.ADMIN,
                address=address,
                states_what_it_replaces=False,
            )
            return known, ""
        if not header:
            return None, ""
        scheme, _, word = header.partition(" ")
        try:
            text = ApiTokenText.parse(
                word.strip() if scheme.lower() == "bearer" else ""
            )
        except ValueError:
            return None, "admin.token"
        visit = visit_of(request)
        with contextlib.nullcontext() if visit is None else visit.held():
            token = await self.mesh.api_token(text.number)
        if token is None or not opens(token, text, time.time()):
            return None, text.number
        return token_actor(token, address), text.number

    async def _turn_away(self, address: str, account: str) -> Problem:
        """Return what is said to a wrong token, after a while."""
        now = asyncio.get_running_loop().time()
        # Whoever shows nothing guesses nothing.
        tired = self.attempts.note(address, account, now) if account else None
        if tired is not None and self.attempts.is_news(tired, now):
            way, whom = tired
            whom = address if way == FROM else whom
            logger.warning(
                "Wrong tokens of the administration come again and again %s %s; more "
                "of these are not logged for an hour",
                way,
                whom,
            )
        await asyncio.sleep(FAILURE_DELAY)
        if tired is None:
            return Problem(401, Trouble.WRONG_TOKEN, WRONG_TOKEN)
        return Problem(429, Trouble.TOO_MANY, TOO_MANY)

    async def _follow(self, request: web.Request, actor: Actor) -> web.StreamResponse:
        require(actor, Scope.EVENTS_READ)

        async def is_still_good() -> bool:
            user = user_behind(request)
            return user is not None or (await self._judge(request, ""))[0] is not None

        return await self._stream.serve(request, actor, is_still_good)

    async def _show_document(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._document, content_type="application/json")

    async def _fetch_peer(self, request: web.Request) -> web.StreamResponse:
        """Answer a plain peer, which has a secret of its own."""
        if is_exposed(request):
            return answer_of(Problem(403, Trouble.EXPOSED, FETCHED_IN_CLEAR))
        return await self._peers.fetch(request)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer in the administration's form what no handler of it was asked."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        path = request.path
        if not path.startswith(API) or path in NO_API or refusal.status < 400:
            raise
        trouble = {404: Trouble.UNKNOWN, 405: Trouble.METHOD}.get(
            refusal.status, Trouble.MALFORMED
        )
        text = f"There is no {request.method} of this path; {DOCUMENT_PATH} shows all"
        if trouble is Trouble.MALFORMED:
            text = f"The request is refused: {refusal.reason.lower()}"
        allowed = {
            key: value for key, value in refusal.headers.items() if key == "Allow"
        }
        return answer_of(Problem(refusal.status, trouble, text), allowed)


def answer_of(
    problem: Problem, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the answer that tells of a problem."""
    said = {"Cache-Control": "no-store", **(headers or {})}
    if problem.status == 401:
        said["WWW-Authenticate"] = 'Bearer realm="meshwg"'
    elif problem.status == 429:
        said["Retry-After"] = str(RETRY_AFTER)
    return web.json_response(
        record_of(problem),
        status=problem.status,
        headers=said,
        content_type=MEDIA_TYPE,
    )


def is_exposed(request: web.Request) -> bool:
    """Return whether somebody on the way can read a request, and the answer."""
    return not is_confidential(request.transport) or came_in_clear(request)


def is_confidential(transport: asyncio.BaseTransport | None) -> bool:
    """Return whether nobody else on the way can read what goes through a connection.

    That is so with TLS, and where both ends are on this machine.
    """
    if transport is None:
        return False
    if transport.get_extra_info("sslcontext") is not None:
        return True
    peer = transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        # A Unix socket, whose ends have no addresses.
        return isinstance(peer, str | bytes)
    return bool(peer) and is_loopback(str(peer[0]))


def is_between_members(
    transport: asyncio.BaseTransport | None, members: Registry
) -> bool:
    """Return whether a connection goes through a tunnel: both ends are members."""
    if transport is None:
        return False
    names = (transport.get_extra_info(end) for end in ("peername", "sockname"))
    return all(
        isinstance(name, tuple) and bool(name) and members.has_address(str(name[0]))
        for name in names
    )


async def _body(request: web.Request, endpoint: Endpoint) -> bytes:
    """Return the body, and keep no more of it than shows that it is too long.

    :raises Problem: if it is, or in no encoding of JSON.
    """
    if not endpoint.takes_text and endpoint.body is None:
        return b""
    limit = MAX_TEXT if endpoint.takes_text else BODY_LIMIT
    visit = visit_of(request)
    if visit is not None and (request.content_length or limit) > BODY_LIMIT:
        visit.expect(MAX_UPLOAD)
    data, size = bytearray(), 0
    try:
        while size <= MAX_UPLOAD and (more := await request.content.readany()):
            size += len(more)
            data += more[: limit + 1 - len(data)]
    except web.RequestPayloadError:
        raise malformed("The body is not what its head says") from None
    if endpoint.takes_text:
        return bytes(data)
    if len(data) > limit:
        text = f"The body has more than {BODY_LIMIT} bytes: send less at once"
        raise Problem(413, Trouble.TOO_LARGE, text)
    if (request.charset or UTF8[0]).lower() not in UTF8:
        raise malformed("The body is not a JSON object in UTF-8")
    return bytes(data)
