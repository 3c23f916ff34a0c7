"""Strangers, who need not be well-behaved: they speak to a coordinator by hand."""

import os

import aiohttp

from meshwg.keys import PrivateKey
from meshwg.wire import channel, control


async def register(
    url: str, coordinator_key: bytes, auth_key: str | None
) -> control.FromCoordinator | None:
    """Register as a new node; return what the coordinator says to that."""
    handshake = channel.ClientHandshake(
        PrivateKey.generate(os.urandom), coordinator_key, random=os.urandom
    )
    async with (
        aiohttp.ClientSession(url) as session,
        session.ws_connect("/v1/control") as socket,
    ):
        await socket.send_bytes(handshake.initiation)
        secure = handshake.read_response(await socket.receive_bytes())
        message = control.Register(name="stranger", auth_key=auth_key)
        await socket.send_bytes(secure.seal(control.encode(message)))
        payload = secure.open(await socket.receive_bytes())
        return control.decode_from_coordinator(payload)
