"""TURN over TCP, TLS and WebSockets: one asyncio protocol per client.

The coordinator's TCP port hands a connection over when its first byte is STUN's, see
:mod:`coordinator.runtime.listener`; WebSockets come from
:mod:`coordinator.runtime.turnwebsocket`. A client that reads more slowly than its peers
send holds nobody up: what does not fit is dropped, the oldest first, and always between
two messages.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from coordinator.config import HostPort
from coordinator.turn.backlog import Backlog
from meshwg.errors import InvalidMessage
from meshwg.runtime.alarm import Alarm
from meshwg.transmit import Endpoint
from meshwg.wire.channeldata import MAX_MESSAGE, StreamFramer
from meshwg.wire.stun import Buffer

WRITE_BUFFER = 128 << 10
"""Bytes that asyncio keeps for a slow client; these can no longer be dropped."""
EARLY_LIMIT = 2048
"""Bytes of the longest message of a client that has no allocation: an Allocate request
with everything that it can hold has some hundred."""
BACKLOG = 512 << 10
"""Bytes kept beyond that."""
ALLOCATION_TIMEOUT = 30.0
"""Seconds that a client may be without an allocation."""


class StreamOwner(Protocol):
    """Who takes what comes from streams."""

    def stream_opened(self, stream: "TurnStream", host: str, port: int) -> Endpoint:
        """Return the endpoint of a new client, with a link of its own."""

    def receive_stream(self, messages: Sequence[Buffer], client: Endpoint) -> None:
        """Take the messages of a client."""

    def stream_closed(self, client: Endpoint, dropped: int) -> None:
        """Note that a client is gone, and how many of its batches were dropped."""

    def has_allocation(self, client: Endpoint) -> bool:
        """Return whether a client has an allocation."""


class TurnStream(asyncio.Protocol):
    """The server's end of a client's connection.

    :param client_address: whose it is, if not of who is at its other end.
    """

    def __init__(
        self, owner: StreamOwner, client_address: HostPort | None = None
    ) -> None:
        self._owner = owner
        self._client_address = client_address
        self._framer = StreamFramer(EARLY_LIMIT)
        self._backlog: Backlog[bytes] = Backlog(BACKLOG)
        self._transport: asyncio.Transport | None = None
        self._client = Endpoint("", 0)
        self._is_paused = False
        self._alarm = Alarm(self._check)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        peer = self._client_address or transport.get_extra_info("peername")
        host, port = (peer or ("", 0))[:2]
        self._client = self._owner.stream_opened(self, host, port)
        self._alarm.set(ALLOCATION_TIMEOUT, 0.0)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._framer.receive(data)
        except InvalidMessage:
            self.abort()
            return
        if messages:
            self._owner.receive_stream(messages, self._client)
            if self._framer.limit == EARLY_LIMIT:
                self._look_for_allocation()

    def connection_lost(self, exc: Exception | None) -> None:
        self._alarm.clear()
        self._transport = None
        self._owner.stream_closed(self._client, self._backlog.dropped)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        while self._backlog and not self._is_paused and self._transport is not None:
            self._transport.write(self._backlog.pop())

    def send(self, messages: Sequence[bytes]) -> None:
        """Send whole messages, now or when the client takes them."""
        data = b"".join(messages)
        if self._transport is None:
            return
        if self._is_paused:
            self._backlog.push(data, 1, len(data))
        else:
            self._transport.write(data)

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _look_for_allocation(self) -> None:
        if self._owner.has_allocation(self._client):
            self._framer.limit = MAX_MESSAGE

    def _check(self) -> None:
        """Go on for some time if the client has an allocation."""
        if self._owner.has_allocation(self._client):
            self._alarm.set(ALLOCATION_TIMEOUT, 0.0)
        else:
            self.abort()
