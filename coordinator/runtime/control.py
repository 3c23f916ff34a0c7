"""The WebSocket ``/v1/control``, which carries nodes' frames to the server."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import WSMsgType, web

from coordinator.control.proofs import ProofWanted
from coordinator.control.rendezvous import Delivery
from coordinator.control.server import ControlServer
from coordinator.runtime.admission import Visit
from coordinator.runtime.listener import client_of, take_over
from coordinator.runtime.outbox import Outbox
from coordinator.runtime.proxied import TrustedProxies
from coordinator.runtime.upgrades import is_upgrade, upgrade_required
from meshwg.runtime.alarm import Alarm
from meshwg.wire.control import MAX_NODE_PAYLOAD, CloseCode

FRAME_LIMIT = 2 * MAX_NODE_PAYLOAD
"""Bytes beyond which a frame is not even read. Between a node's limit and this one, the
node is told what was wrong."""
CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the node's half of the WebSocket close."""


class ControlEndpoint:
    """Drives the control server: its sockets, and its one timer.

    :param on_operations: called when there may be operations for the database.
    :param on_forward: called with offers for nodes at other processes.
    :param on_proof: called with what nodes show of their cluster.
    :param proxies: who may say who a node is; by default nobody.
    """

    def __init__(
        self,
        server: ControlServer,
        *,
        on_operations: Callable[[], None],
        on_forward: Callable[[Delivery], None],
        on_proof: Callable[[ProofWanted], None],
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._server = server
        self._proxies = proxies or TrustedProxies()
        self._on_operations = on_operations
        self._on_forward = on_forward
        self._on_proof = on_proof
        self._outboxes: dict[int, Outbox] = {}
        self._visits: dict[int, Visit] = {}
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._on_alarm)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket from its first frame to its last."""
        socket = web.WebSocketResponse(
            max_msg_size=FRAME_LIMIT,
            compress=False,
            timeout=CLOSE_TIMEOUT,
            autoping=False,
        )
        if not is_upgrade(request, socket):
            return upgrade_required()
        address = client_of(request, self._proxies)
        number = self._server.connect(address, self._loop.time())
        self.drain()
        if number is None:
            text = "Too many connections; try again later\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "10"})
        visit = take_over(request)
        if visit is not None:
            self._visits[number] = visit
        try:
            await socket.prepare(request)
            await self._carry(number, socket)
        finally:
            self._server.disconnect(number)
            self.drain()
            self._end_visit(number)
        return socket

    def drain(self) -> None:
        """Pass on what the server has to send; to be called after all input to it."""
        for number, frame in self._server.frames_to_send():
            outbox = self._outboxes.get(number)
            if outbox is not None:
                outbox.send(frame)
        for close in self._server.closes():
            outbox = self._outboxes.get(close.connection)
            if outbox is not None:
                outbox.close(close.code)
                self._end_visit(close.connection)
        for delivery in self._server.offers_to_forward():
            self._on_forward(delivery)
        for wanted in self._server.proofs_wanted():
            self._on_proof(wanted)
        self._arm()

    async def flush(self) -> None:
        """Wait until everything has been sent."""
        for outbox in list(self._outboxes.values()):
            await outbox.flush()

    def stop(self) -> None:
        self._alarm.clear()

    async def _carry(self, number: int, socket: web.WebSocketResponse) -> None:
        def on_writable(writable: bool) -> None:
            self._server.set_writable(number, writable, self._loop.time())
            if writable:
                self.drain()

        outbox = self._outboxes[number] = Outbox(socket, on_writable)
        try:
            self._arm()
            async for message in socket:
                now = self._loop.time()
                if message.type in (WSMsgType.PING, WSMsgType.PONG):
                    may = self._server.receive_ping(number, now)
                    if may and message.type is WSMsgType.PING:
                        await socket.pong(message.data)
                elif message.type is WSMsgType.BINARY:
                    self._server.receive_frame(number, message.data, now)
                else:
                    outbox.close(CloseCode.MALFORMED)
                    break
                self.drain()
            await outbox.flush()
        finally:
            del self._outboxes[number]
            await outbox.stop()

    def _end_visit(self, number: int) -> None:
        """Leave the connection to those who count what is not ours."""
        visit = self._visits.pop(number, None)
        if visit is not None:
            visit.close()

    def _arm(self) -> None:
        """Say what waits for the database, and be woken when the server asks for it."""
        if self._server.pending:
            self._on_operations()
        self._alarm.set(self._server.get_timer(), self._loop.time())

    def _on_alarm(self) -> None:
        self._server.handle_timer(self._loop.time(), time.time())
        self.drain()
