"""Real listeners on loopback: a coordinator's ports, and a node's control socket."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from meshwg.keys import PrivateKey
from meshwg.runtime.httpserver import HttpAnswer, HttpRequest, HttpServer
from meshwg.runtime.websocket import NoWebSocket, WebSocket
from meshwg.wire import channel, channeldata, control
from meshwg.wire.control import ReportedCandidate
from meshwg.wire.stun import Attribute, Class, Message, Method, encode
from meshwg.wire.token import JoinToken
from tests.coordinator.programs import make_token, running
from tests.coordinator.strangers import register
from tests.fuzz import mutation
from tests.fuzz.inputs import Input
from tests.fuzz.target import Target

PATIENCE = 10.0
"""Seconds that something is waited for which comes at once if anything works."""
BRIEFLY = 0.5
"""Seconds for an answer that often does not come."""
OPEN_AT_ONCE = 20
"""Connections that are left open, half said."""

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = (
    b"GET /v1/control HTTP/1.1\r\nHost: mesh.test\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + KEY + b"\r\n"
)
TO_RELAY = UPGRADE.replace(b"/v1/control", b"/v1/relay")
PROXY_HEADERS = (
    b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
PATHS = (
    *("/v1/nodes", "/v1/tokens", "/v1/nodes/a", "/v1/nodes/a/expire", "/v1/tokens/1"),
    *("/healthz", "/metrics", "/v1/control", "/v1/relay", "/", "*", "/v1/nodes/%00"),
    "/../../etc/passwd",
)
BODIES: tuple[dict[str, object], ...] = (
    {"name": "b"},
    {"reusable": True, "uses": 3, "ephemeral": False, "expires": "24h"},
    {},
)
QUOTABLE = (
    *(b"Expect", b"Upgrade", b"Connection", b"Content-Type", b"Content-Encoding"),
    *(b"Accept", b"Cookie", b"Range", b"X-Forwarded-For", b"Sec-WebSocket-Protocol"),
)
"""Headers that a server may repeat to the sender, or choose an answer by."""
METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "BREW")


class LiveTarget(Target):
    """Something with sockets, on an event loop of its own."""

    is_live = True
    inputs = 60
    most_seconds = 2.0

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._open: list[asyncio.StreamWriter] = []
        self._folder = tempfile.TemporaryDirectory(prefix="meshwg-fuzz-")
        self.folder = Path(self._folder.name)
        self._runner.run(self._start())

    def apply(self, step: Input) -> None:
        self._runner.run(self._apply(step))

    def failure(self) -> str | None:
        return self._runner.run(self._fails())

    def roots(self) -> list[object]:
        """Return nothing: an event loop holds the whole process."""
        return []

    def close(self) -> None:
        self._runner.run(self._stop())
        self._runner.close()
        self._folder.cleanup()

    async def _start(self) -> None:
        """Open the listeners; what is to be closed is put on the stack."""
        raise NotImplementedError

    async def _apply(self, step: Input) -> None:
        raise NotImplementedError

    async def _fails(self) -> str | None:
        raise NotImplementedError

    async def _stop(self) -> None:
        await self._hang_up()
        await self._stack.aclose()
        # Transports close in the next turns of the loop.
        await asyncio.sleep(0.05)

    async def _hang_up(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        await asyncio.sleep(0.05)

    async def _say(
        self, where: Callable[[], Awaitable[socket.socket]], step: Input
    ) -> None:
        """Say something on a new connection, in parts, and leave it or close it."""
        random = Random(step.choice)
        try:
            reader, writer = await asyncio.open_connection(sock=await where())
        except OSError:
            return
        with contextlib.suppress(OSError, TimeoutError):
            for part in mutation.chunks(random, step.data):
                if writer.transport.is_closing():
                    break
                writer.write(part)
                if random.random() < 0.3:
                    await writer.drain()
            if random.random() < 0.5:
                async with asyncio.timeout(0.02):
                    await reader.read(70_000)
        if random.random() < 0.2 and len(self._open) < OPEN_AT_ONCE:
            self._open.append(writer)
        elif random.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()
        await asyncio.sleep(0)


class CoordinatorPorts(LiveTarget):
    """HTTP, WebSockets and TURN on the TCP port; STUN and TURN on the UDP port."""

    name = "ports"
    ways = (
        *("udp", "udp", "http", "http", "http", "upgrade", "frames", "member", "turn"),
        *("relay", "proxy"),
    )

    async def _start(self) -> None:
        proxies = ("127.0.0.0/8",)
        running_here = running(self.folder / "data", trusted_proxies=proxies)
        self._process, self._foundation = await self._stack.enter_async_context(
            running_here
        )
        self._token = await make_token(self._process, self._foundation)
        host, port = self._process.public.url.removeprefix("http://").split(":")
        self._tcp = host, int(port)
        self._udp = self._process.public.stun[0].rpartition(":")
        self.overheard += _turn_messages()

    def draw(self, random: Random) -> Input:
        way, choice = random.choice(self.ways), random.randrange(1 << 30)
        match way:
            case "udp" | "turn":
                data = mutation.mutate_stun(random, self.pick(random))
                if way == "turn":
                    data = b"".join((data, self.pick(random), mutation.noise(random)))
            case "http":
                data = _http_request(random, self._foundation.admin_token)
            case "upgrade":
                data = mutation.mutate(random, UPGRADE)
            case "frames":
                data = UPGRADE + _frames(random)
            case "relay":
                message = mutation.mutate_stun(random, self.pick(random))[:125]
                frame = bytes((0x82, 0x80 | len(message))) + bytes(4) + message
                data = TO_RELAY + frame + _frames(random)
            case "proxy":
                header = mutation.mutate(random, random.choice(PROXY_HEADERS))
                data = header + random.choice((UPGRADE, TO_RELAY, self.pick(random)))
            case _:
                text = control.to_json(random.choice(_MEMBER_SAYS))
                data = mutation.pack(random, mutation.mutate_json(random, text))
        return Input(way, data, choice)

    async def _apply(self, step: Input) -> None:
        if step.way == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                where = self._udp[0], int(self._udp[2])
                with contextlib.suppress(OSError):
                    sock.sendto(step.data[:60_000], where)
            await asyncio.sleep(0)
        elif step.way == "member":
            await self._speak_as_member(step)
        else:
            await self._say(self._connect, step)

    async def _connect(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._tcp)
        except OSError:
            sock.close()
            raise
        return sock

    async def _speak_as_member(self, step: Input) -> None:
        """Say something in a channel, before or after having joined."""
        random = Random(step.choice)
        joined = JoinToken.parse(self._token)
        private_key = PrivateKey.generate(random.randbytes)
        handshake = channel.ClientHandshake(
            private_key, joined.coordinator_key, random=random.randbytes
        )
        with contextlib.suppress(OSError, NoWebSocket, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                url = joined.url + "/v1/control"
                websocket = await WebSocket.open(url, max_size=1 << 20)
                try:
                    await self._converse(websocket, handshake, step)
                finally:
                    await websocket.close()
        await asyncio.sleep(0)

    async def _converse(
        self, websocket: WebSocket, handshake: channel.ClientHandshake, step: Input
    ) -> None:
        await websocket.send(handshake.initiation)
        response = await websocket.receive()
        if response is None:
            return
        secure = handshake.read_response(response)
        if step.choice % 3:
            key = str(JoinToken.parse(self._token).auth_key)
            first = control.Register(name="x", auth_key=key)
            await websocket.send(secure.seal(control.encode(first)))
        await websocket.send(secure.seal(step.data[: 60 * 1024]))
        if step.choice % 2:
            async with asyncio.timeout(BRIEFLY):
                await websocket.receive()
            await websocket.send(secure.seal(control.encode(_LEAVE)))

    async def _fails(self) -> str | None:
        await self._hang_up()
        joined = JoinToken.parse(self._token)
        async with asyncio.timeout(PATIENCE):
            said = await register(
                joined.url, joined.coordinator_key, str(joined.auth_key)
            )
        if not isinstance(said, control.Registered):
            return f"A newcomer is told {said}"
        unexpected = self._process._unexpected.count
        return f"{unexpected} exceptions nobody expected" if unexpected else None


class ControlSocket(LiveTarget):
    """A node's control socket, and its WebSocket where the server is hostile."""

    name = "socket"
    ways = ("http", "http", "answer", "answer", "frames")

    async def _start(self) -> None:
        self._path = str(self.folder / "socket")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self._path)
        listening.listen(100)
        listening.setblocking(False)
        server = HttpServer(_echo, max_body=10_000)
        await server.start(listening)
        self._stack.callback(listening.close)
        self._stack.push_async_callback(server.close)
        self._answer = b""
        self._hostile = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._stack.callback(self._hostile.close)
        self._port = self._hostile.sockets[0].getsockname()[1]

    def draw(self, random: Random) -> Input:
        way, choice = random.choice(self.ways), random.randrange(1 << 30)
        match way:
            case "http":
                data = _http_request(random, "token")
            case "answer":
                data = mutation.mutate(random, ACCEPTED + _frames(random))
            case _:
                data = ACCEPTED + _frames(random)
        return Input(way, data, choice)

    async def _apply(self, step: Input) -> None:
        if step.way == "http":
            await self._say(self._connect, step)
            return
        self._answer = step.data
        try:
            async with asyncio.timeout(PATIENCE):
                url = f"http://127.0.0.1:{self._port}/v1/control"
                websocket = await WebSocket.open(url, max_size=10_000)
                try:
                    while await websocket.receive() is not None:
                        pass
                finally:
                    await websocket.close()
        except (OSError, NoWebSocket):
            return

    async def _fails(self) -> str | None:
        await self._hang_up()
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(self._path)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
        return None if b" 200 " in answer else "The control socket does not answer"

    async def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._path)
        except OSError:
            sock.close()
            raise
        return sock

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer a WebSocket client with what the input says."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_with_accept(self._answer, head))
            await writer.drain()
        writer.close()


async def _echo(request: HttpRequest) -> HttpAnswer:
    return HttpAnswer(request.body)


def _with_accept(answer: bytes, request: bytes) -> bytes:
    """Return an answer that accepts the key of a request, where it accepts one."""
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    if found is None:
        return answer
    magic = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    digest = hashlib.sha1(found[1] + magic, usedforsecurity=False).digest()
    return answer.replace(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", base64.b64encode(digest))


def _http_request(random: Random, token: str) -> bytes:
    method, path = random.choice(METHODS).encode(), random.choice(PATHS).encode()
    body = mutation.mutate_json(random, json.dumps(random.choice(BODIES)).encode())
    values = (token.encode(), b"\xff", b"", b"x" * 9000, b"\0")
    head = method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n"
    if random.random() < 0.7:
        head += b"Authorization: Bearer " + random.choice(values) + b"\r\n"
    length = random.choice((len(body), len(body), len(body), 0, 10**9, -1))
    kind = random.random()
    if kind < 0.7:
        head += b"Content-Length: " + str(length).encode() + b"\r\n"
    elif kind < 0.85:
        head += b"Transfer-Encoding: chunked\r\n"
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    if random.random() < 0.1:
        head += b"Expect: 100-continue\r\n"
    if random.random() < 0.3:
        head += random.choice(QUOTABLE) + b": " + random.choice(values) + b"\r\n"
    request = head + b"\r\n" + body
    return mutation.mutate(random, request) if random.random() < 0.6 else request


def _frames(random: Random) -> bytes:
    """Return frames of a WebSocket, with masks or without, that are nearly right."""
    frames = b""
    for _ in range(random.randrange(6)):
        payload = random.randbytes(random.choice((0, 1, 16, 96, 125)))
        first = random.choice((0x82, 0x82, 0x02, 0x80, 0x89, 0x8A, 0x88, 0x81, 0xF2))
        mask = random.choice((0x80, 0))
        frames += (
            bytes((first, mask | len(payload))) + bytes(4 if mask else 0) + payload
        )
    return mutation.mutate(random, frames) if random.random() < 0.4 else frames


def _turn_messages() -> list[bytes]:
    attributes = {
        Attribute.REQUESTED_TRANSPORT: 17,
        Attribute.USERNAME: "1:x",
        Attribute.REALM: "meshwg",
        Attribute.NONCE: b"x" * 20,
        Attribute.XOR_PEER_ADDRESS: ("192.0.2.1", 7),
        Attribute.DATA: bytes(30),
        Attribute.PADDING: bytes(64),
    }
    binding = Message(Method.BINDING, Class.REQUEST, bytes(12))
    attributes.pop(Attribute.XOR_PEER_ADDRESS)
    messages = [
        encode(Message(method, Class.REQUEST, os.urandom(12), attributes), b"key")
        for method in (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION)
    ]
    return [*messages, encode(binding), *channeldata.wrap(0x4000, [bytes(100)])]


_LEAVE = control.Leave(for_good=True)
_MEMBER_SAYS: tuple[control.FromNode, ...] = (
    control.Register(name="x", auth_key="1.a", routes=("10.0.0.0/16",)),
    control.Report(
        candidates=(ReportedCandidate(kind="host", host="192.0.2.1", port=7),)
    ),
    control.OfferMessage(to="A" * 43 + "=", sequence=1, extension={"a": [1]}),
    control.Ping(id=1),
    control.Resync(),
)
