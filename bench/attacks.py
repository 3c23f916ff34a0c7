"""What strangers, members and neighbours on a machine send, as a program of its own.

``python -m bench.attacks NAME AIM`` attacks one target until it is ended, for
:data:`LONGEST` seconds at most. It prints how often it did what it does when it ends.
``AIM`` is the JSON of an :class:`Aim`.
"""

import asyncio
import contextlib
import json
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench.lightmesh import LightNode
from meshwg.keys import PrivateKey, parse_key
from meshwg.runtime.websocket import NoWebSocket, WebSocket
from meshwg.wire import channel, control
from meshwg.wire.token import JoinToken
from meshwg.wireguard.cookie import CookieJar
from meshwg.wireguard.handshake import SentInitiation
from meshwg.wireguard.peer import NO_KEY
from meshwg.wireguard.tai64n import stamp

LONGEST = 90.0
AGAIN = 1.0
"""Seconds from being cut until the same is tried again."""
NOBODY = 65534
"""The number of a user who may do nothing."""

SILENT = 3000
"""Connections of the floods that hold as many as they get."""
LETTERS = 32
"""Clients that send requests as fast as they are answered."""
INITIATIONS = 700
"""WireGuard's, a second."""
IDLE = 1135
"""Connections to a control socket."""
REGISTRATIONS = 3
"""A second."""

BODY = b"GET /v1/control HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
HALF_STREAM = b"\0\x03\x3f\xfc" + bytes(8_000)
"""The first half of a STUN message: a TURN client's over TCP."""
NO_TEXT = b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: \xff\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Aim:
    """Who is attacked, and with what."""

    host: str = ""
    port: int = 0
    sources: tuple[str, ...] = ("0.0.0.0",)
    """The addresses that connections come from, in turn."""
    token: str = ""
    """A member's, or for its coordinator's key."""
    key: str = ""
    """A node's public key."""
    socket: str = ""
    """A control socket."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Attack:
    """One attack, and what it has done."""

    def __init__(self, aim: Aim) -> None:
        self.aim = aim
        self.done: Counter[str] = Counter()

    async def silent(self) -> None:
        """Hold connections that say nothing."""
        await self._hold(SILENT, b"")

    async def bodies(self) -> None:
        """Hold connections that ask for the control channel with a body, not all."""
        await self._hold(SILENT, BODY + b"x")

    async def streams(self) -> None:
        """Hold streams of messages that are half sent."""
        await self._hold(40 * len(self.aim.sources), HALF_STREAM)

    async def door(self) -> None:
        """Hold as many silent connections from each address as an address may have."""
        await self._hold(32 * len(self.aim.sources), b"")

    async def letters(self) -> None:
        """Send requests whose bearer token is no text."""
        await asyncio.gather(*(self._ask_on() for _ in range(LETTERS)))

    async def registrations(self) -> None:
        """Show an auth key with a zero byte, a few times a second."""
        while True:
            with contextlib.suppress(OSError, NoWebSocket, TimeoutError):
                async with asyncio.timeout(5):
                    await register(self.aim.token, "\0.aa")
                    self.done["answered"] += 1
            self.done["sent"] += 1
            await asyncio.sleep(1 / REGISTRATIONS)

    async def heartbeats(self) -> None:
        """Be a member whose heart beats as fast as it can."""
        private_key = PrivateKey.generate(secrets.token_bytes)
        while True:
            with contextlib.suppress(OSError, AssertionError):
                await self._beat(private_key)
            self.done["cut"] += 1
            await asyncio.sleep(AGAIN)

    async def initiations(self) -> None:
        """Send initiations of somebody whom the node does not know, evenly."""
        key = parse_key(self.aim.key)
        messages = [initiation(key) for _ in range(64)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            due = time.monotonic()
            while True:
                message = messages[self.done["sent"] % len(messages)]
                sock.sendto(message, (self.aim.host, self.aim.port))
                self.done["sent"] += 1
                due += 1 / INITIATIONS
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def idle(self) -> None:
        """Hold connections to a control socket, as an ordinary user."""
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        await self._hold(IDLE, b"")

    async def _hold(self, count: int, words: bytes) -> None:
        holders = (self._keep(number, words) for number in range(count))
        await asyncio.gather(*holders)

    async def _keep(self, number: int, words: bytes) -> None:
        """Have one connection that says something, and another when it is cut."""
        source = self.aim.sources[number % len(self.aim.sources)]
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await self._connect(source)
                self.done["opened"] += 1
                writer.write(words)
                with contextlib.closing(writer):
                    await reader.read()
            self.done["cut"] += 1
            await asyncio.sleep(AGAIN)

    async def _connect(
        self, source: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.aim.socket:
            return await asyncio.open_unix_connection(self.aim.socket)
        where = (source, 0)
        return await asyncio.open_connection(
            self.aim.host, self.aim.port, local_addr=where
        )

    async def _ask_on(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await self._connect(self.aim.sources[0])
                with contextlib.closing(writer):
                    writer.write(NO_TEXT)
                    answer = await reader.read()
                self.done[answer[9:12].decode(errors="replace") or "cut"] += 1

    async def _beat(self, private_key: PrivateKey) -> None:
        loop = asyncio.get_running_loop()
        joined: asyncio.Future[None] = loop.create_future()
        transport, node = await loop.create_connection(
            lambda: Member(private_key, JoinToken.parse(self.aim.token), joined),
            self.aim.host,
            self.aim.port,
        )
        await joined
        while not transport.is_closing():
            for _ in range(100):
                node.beat()
            self.done["sent"] += 100
            await asyncio.sleep(0)
            await node.writable.wait()


class Member(LightNode):
    """A light node that comes back as itself."""

    def __init__(
        self, private_key: PrivateKey, token: JoinToken, done: "asyncio.Future[None]"
    ) -> None:
        super().__init__(token, "flooder", done, lambda node, size: None)
        self._handshake = channel.ClientHandshake(
            private_key, token.coordinator_key, random=secrets.token_bytes
        )
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.writable.set()


async def register(
    text: str, auth_key: str | None = None
) -> control.FromCoordinator | None:
    """Join a mesh, and leave it again; return the coordinator's answer.

    :param auth_key: another one than the token's.
    :raises OSError: if there is no connection.
    :raises NoWebSocket: if the coordinator refuses it.
    """
    token = JoinToken.parse(text)
    handshake = channel.ClientHandshake(
        PrivateKey.generate(secrets.token_bytes),
        token.coordinator_key,
        random=secrets.token_bytes,
    )
    websocket = await WebSocket.open(token.url + "/v1/control", max_size=1 << 20)
    try:
        await websocket.send(handshake.initiation)
        secure = handshake.read_response(await _received(websocket))
        key = auth_key or str(token.auth_key)
        message = control.Register(name="passer-by", auth_key=key)
        await websocket.send(secure.seal(control.encode(message)))
        answer = secure.open(await _received(websocket))
        said = control.decode_from_coordinator(answer)
        if isinstance(said, control.Registered):
            leave = control.encode(control.Leave(for_good=True))
            await websocket.send(secure.seal(leave))
    finally:
        await websocket.close()
    return said


def initiation(key: bytes) -> bytes:
    """Return a stranger's initiation to the owner of a public key, with its MAC."""
    stranger = PrivateKey.generate(secrets.token_bytes)
    shared = stranger.exchange(key)
    assert shared is not None
    sent = SentInitiation.create(
        stranger,
        key,
        static_shared=shared,
        preshared_key=NO_KEY,
        local_index=secrets.randbits(32),
    )
    ephemeral = PrivateKey.generate(secrets.token_bytes)
    return CookieJar(key).sign(sent.write(stamp(time.time()), ephemeral), 0.0)


async def _received(websocket: WebSocket) -> bytes:
    message = await websocket.receive()
    if message is None:
        raise ConnectionError("The coordinator hung up")
    return message


ATTACKS: dict[str, Callable[[Attack], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        *(Attack.silent, Attack.bodies, Attack.streams, Attack.door, Attack.letters),
        *(Attack.registrations, Attack.heartbeats, Attack.initiations, Attack.idle),
    )
}


async def _run(name: str, attack: Attack) -> None:
    task = asyncio.ensure_future(ATTACKS[name](attack))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print("attacking", flush=True)
    await asyncio.wait([task], timeout=LONGEST)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(name: str, aim: dict[str, Any]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = Attack(Aim(**aim))
    asyncio.run(_run(name, attack))
    print(json.dumps(attack.done), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
