"""The administration of policies and users over HTTP, behind the same bearer token.

``/v1/policy`` is the policy in force: GET it, or PUT another one as TOML text, whose
comment is in the query. ``/v1/policy/history`` lists all versions. ``/v1/users`` lists
users; PUT ``/v1/users/NAME`` adds one, and DELETE disables it. ``/v1/audit`` is the
audit log, with ``?after=ROW`` what came later.
"""

from aiohttp import web

from coordinator.mesh.operations import (
    AddUser,
    ApplyPolicy,
    DisableUser,
    Operation,
    Refused,
    Result,
)
from coordinator.mesh.records import audit_record, policy_record, user_record
from coordinator.mesh.registry import Registry
from coordinator.runtime.worker import ADMINISTRATION, StoreWorker
from coordinator.store.store import Store
from meshwg.errors import MeshError

MAX_DIGITS = 9
MAX_BODY = 32 * 1024
"""Bytes of a policy here: a connection that sends much more is cut, whoever it is."""


class PolicyAdministration:
    """The handlers; whoever calls them has shown the bearer token."""

    def __init__(self, store: Store, worker: StoreWorker, registry: Registry) -> None:
        self._store = store
        self._worker = worker
        self._registry = registry

    async def show(self, _: web.Request) -> web.Response:
        """Return the policy in force, ``null`` if there is none."""
        active = self._registry.policy
        if active is None:
            return web.json_response({"schema": 1, "policy": None})
        record = {**policy_record(active.record), "text": active.record.text}
        return web.json_response({"schema": 1, "policy": record})

    async def history(self, _: web.Request) -> web.Response:
        """Return all versions, the newest first."""
        versions = await self._store.policies()
        listed = [policy_record(each) for each in versions]
        return web.json_response({"schema": 1, "versions": listed})

    async def apply(self, request: web.Request) -> web.Response:
        """Have another policy."""
        text = await _text(request)
        comment = request.query.get("comment", "")
        operation = ApplyPolicy(text, ADMINISTRATION, comment)
        result = await perform(self._worker, operation, request)
        if isinstance(result, Refused):
            return web.json_response({"error": result.message}, status=400)
        assert result.policy is not None
        record = policy_record(result.policy)
        return web.json_response({"schema": 1, "policy": record})

    async def audit(self, request: web.Request) -> web.Response:
        """Return what administrators did, after a row of the log if one is named."""
        after = request.query.get("after", "0")
        if not after.isdecimal() or not after.isascii() or len(after) > MAX_DIGITS:
            raise MeshError("'after' is the number of a row")
        rows = await self._store.audit(after=int(after))
        listed = [audit_record(each) for each in rows]
        return web.json_response({"schema": 1, "rows": listed})

    async def users(self, _: web.Request) -> web.Response:
        """Return all users."""
        listed = [user_record(each) for each in await self._store.users()]
        return web.json_response({"schema": 1, "users": listed})

    async def add_user(self, request: web.Request) -> web.Response:
        """Know a user."""
        return await self._perform(AddUser(request.match_info["user"]), request)

    async def disable_user(self, request: web.Request) -> web.Response:
        """Know a user no more."""
        return await self._perform(DisableUser(request.match_info["user"]), request)

    async def _perform(
        self, operation: Operation, request: web.Request
    ) -> web.Response:
        result = await perform(self._worker, operation, request)
        if isinstance(result, Refused):
            return web.json_response({"error": result.message}, status=400)
        return web.json_response({"schema": 1})


async def perform(
    worker: StoreWorker, operation: Operation, request: web.Request
) -> Result:
    """Carry out what somebody wants who has shown the bearer token."""
    return await worker.perform(operation, address=request.remote or "")


async def read_object(request: web.Request) -> dict[str, object]:
    """Return the JSON object in a body, which may be missing.

    :raises MeshError: if it is something else.
    """
    if not request.can_read_body:
        return {}
    try:
        body = await request.json()
    except (ValueError, LookupError, RecursionError):
        # It is not JSON, in an unknown encoding, or nested more deeply than Python.
        body = None
    if not isinstance(body, dict):
        raise MeshError("The body is not a JSON object")
    return body


async def _text(request: web.Request) -> str:
    """Return the body.

    :raises MeshError: if it is too long, or no text.
    """
    data = b""
    while len(data) <= MAX_BODY and (more := await request.content.readany()):
        data += more
    if len(data) > MAX_BODY:
        raise MeshError(
            f"A policy over HTTP has at most {MAX_BODY >> 10} KiB: use "
            "'meshwg-coordinator policy apply' for a longer one"
        )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MeshError(
            "The body is not a text in UTF-8: send the policy as TOML"
        ) from None
