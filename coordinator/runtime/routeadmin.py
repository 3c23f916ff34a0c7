"""The administration of what nodes offer over HTTP, behind the same bearer token.

GET ``/v1/routes`` lists networks behind nodes, and exits. POST ``/v1/routes/approve``
and ``/v1/routes/refuse`` decide on one: ``{"node": "NAME", "prefix": "10.1.0.0/16"}``,
where ``prefix`` may also be ``exit``, or ``hub``.
"""

from aiohttp import web

from coordinator.mesh.approvals import parse_item
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Approve, Refuse, Refused
from coordinator.mesh.records import route_record, route_records
from coordinator.mesh.registry import Registry
from coordinator.runtime.policyadmin import perform, read_object
from coordinator.runtime.worker import StoreWorker
from meshwg.errors import MeshError
from meshwg.wire.control import ErrorCode


class RouteAdministration:
    """The handlers; whoever calls them has shown the bearer token."""

    def __init__(self, worker: StoreWorker, registry: Registry) -> None:
        self._worker = worker
        self._registry = registry

    async def show(self, _: web.Request) -> web.Response:
        """Return what all nodes offer, and what has become of it."""
        records = route_records(self._registry.nodes.values())
        return web.json_response({"schema": 1, "routes": records})

    async def approve(self, request: web.Request) -> web.Response:
        """Let others be told of something."""
        return await self._decide(Approve(*await _wanted(request)), request)

    async def refuse(self, request: web.Request) -> web.Response:
        """Let nobody be told of something."""
        return await self._decide(Refuse(*await _wanted(request)), request)

    async def _decide(
        self, operation: Approve | Refuse, request: web.Request
    ) -> web.Response:
        result = await perform(self._worker, operation, request)
        if isinstance(result, Refused):
            missing = result.code is ErrorCode.UNKNOWN_PEER
            return web.json_response(
                {"error": result.message}, status=404 if missing else 409
            )
        assert result.node is not None
        record = _record(result.node, operation.item)
        return web.json_response({"schema": 1, "route": record})


def _record(node: Node, item: str) -> dict[str, object]:
    state = node.state_of(item)
    assert state is not None, "there is a decision on it"
    return route_record(node, state)


async def _wanted(request: web.Request) -> tuple[str, str]:
    """Return which node is meant, and what it offers.

    :raises MeshError: if the body says something else.
    """
    body = await read_object(request)
    node, prefix = body.get("node"), body.get("prefix")
    if not isinstance(node, str) or not isinstance(prefix, str):
        raise MeshError('The body must be {"node": "NAME", "prefix": "10.1.0.0/16"}')
    try:
        return node, parse_item(prefix)
    except ValueError as error:
        raise MeshError(str(error)) from None
