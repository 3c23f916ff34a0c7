"""The WebSockets to the other coordinators on the database, for offers.

One is opened when the first offer goes to a process. Until it is ready, and where it
cannot be had, offers go through the database, which takes a lock for each of them.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable

import aiohttp

from coordinator.control.rendezvous import Delivery
from coordinator.control.siblings import LinkState, SiblingLink
from coordinator.mesh.homes import Home
from meshwg.keys import PrivateKey
from meshwg.runtime.alarm import Alarm

RETRY_INTERVAL = 15.0
"""Seconds until one that failed is opened again."""
MAX_LINKS = 64
"""Processes on one database to which there are connections."""
FRAME_LIMIT = 64 * 1024

ERRORS = (aiohttp.ClientError, OSError, ValueError)
"""What an address of another process, and what answers there, may lead to."""


class Siblings:
    """The connections that this process has opened to others, by their names.

    :param private_key: returns the key of all coordinators.
    :param path: the path of the WebSocket.
    """

    def __init__(self, private_key: Callable[[], PrivateKey], path: str) -> None:
        self._private_key = private_key
        self._path = path
        self._links: dict[str, _SiblingSocket] = {}
        self.forwarded = 0
        """Offers that went directly."""

    def forward(self, delivery: Delivery, home: Home) -> bool:
        """Pass an offer on; return whether it is on its way.

        :param home: the process that is connected to its receiver.
        """
        if not home.direct:
            return False
        link = self._links.get(home.name)
        now = asyncio.get_running_loop().time()
        if link is None or link.may_be_replaced(now):
            self._open(home)
            return False
        is_sent = link.send(delivery.text, now)
        self.forwarded += is_sent
        return is_sent

    async def close(self) -> None:
        """Close all connections."""
        links, self._links = self._links, {}
        for link in links.values():
            await link.close()

    def _open(self, home: Home) -> None:
        self._links.pop(home.name, None)
        if len(self._links) >= MAX_LINKS:
            now = asyncio.get_running_loop().time()
            over = [n for n, each in self._links.items() if each.may_be_replaced(now)]
            for name in over:
                del self._links[name]
        if len(self._links) < MAX_LINKS:
            url = home.direct.rstrip("/") + self._path
            link = _SiblingSocket(self._private_key(), home.name, url)
            self._links[home.name] = link


class _SiblingSocket:
    """One WebSocket to another process, from its first byte to its last."""

    def __init__(self, private_key: PrivateKey, home: str, url: str) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._link = SiblingLink(private_key, home, now=now, random=os.urandom)
        self._url = url
        self._wake = asyncio.Event()
        self._alarm = Alarm(self._on_alarm)
        self._retry_at = now + RETRY_INTERVAL
        self._task = asyncio.create_task(self._run())
        self._alarm.set(self._link.get_timer(), now)

    def may_be_replaced(self, now: float) -> bool:
        """Tell whether it is over, and has been for a while."""
        return self._task.done() and now >= self._retry_at

    def send(self, text: bytes, now: float) -> bool:
        is_sent = not self._task.done() and self._link.send(text, now)
        if is_sent:
            self._wake.set()
        return is_sent

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            # Its certificate proves nothing that the handshake inside does not prove.
            with contextlib.suppress(*ERRORS):
                async with (
                    aiohttp.ClientSession() as session,
                    session.ws_connect(
                        self._url, ssl=False, max_msg_size=FRAME_LIMIT
                    ) as websocket,
                ):
                    await self._carry(websocket)
        finally:
            self._alarm.clear()
            self._link.state = LinkState.DEAD
            self._retry_at = self._loop.time() + RETRY_INTERVAL

    async def _carry(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._link.opened(self._loop.time())
        sender = asyncio.create_task(self._send(websocket))
        self._turn()
        try:
            async for message in websocket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
                self._link.receive_frame(message.data, self._loop.time())
                self._turn()
        finally:
            sender.cancel()
            await asyncio.wait([sender])

    async def _send(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                self._wake.clear()
                for frame in self._link.frames_to_send():
                    await websocket.send_bytes(frame)
                await self._wake.wait()

    def _turn(self) -> None:
        if self._link.state is LinkState.DEAD:
            self._task.cancel()
        self._alarm.set(self._link.get_timer(), self._loop.time())
        self._wake.set()

    def _on_alarm(self) -> None:
        self._link.handle_timer(self._loop.time())
        self._turn()
