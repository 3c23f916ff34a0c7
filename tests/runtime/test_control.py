"""The node's WebSocket: opened when wanted, closed when not, and errors in words."""

import asyncio
import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from meshwg.control.client import ControlClient, ControlState
from meshwg.control.identity import Identity
from meshwg.control.succession import HEAD_START
from meshwg.keys import PrivateKey
from meshwg.proxies import Proxies
from meshwg.runtime import clock, dialing
from meshwg.runtime.control import ACKNOWLEDGEMENT_TIMEOUT, ControlLink
from meshwg.runtime.websocket import WebSocket
from meshwg.wire import channel, control
from meshwg.wire.control import CloseCode, Registered
from meshwg.wire.models import decode_from_node
from tests.runtime.connectproxy import connect_proxy

PATIENCE = 20.0
KEY = PrivateKey.generate(random.Random(1).randbytes)
REGISTERED = Registered(epoch="e", name="n", addresses=(), networks=())

Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


class Coordinator:
    """A WebSocket server whose behaviour a test chooses."""

    def __init__(self) -> None:
        self.serve: Serve = welcome
        self.status = 200
        self.headers: dict[str, str] = {}
        self.connections = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        websocket = web.WebSocketResponse(timeout=1.0)
        await websocket.prepare(request)
        await self.serve(websocket)
        return websocket


@pytest.fixture
async def coordinator() -> AsyncIterator[Coordinator]:
    made = Coordinator()
    async with site_of(made.handle) as made.url:
        yield made


class Daemon:
    """The little that a daemon does around the link."""

    def __init__(
        self, url: str, fwmark: int = 0, proxies: Proxies | None = None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        membership = Identity(PrivateKey.generate(os.urandom), KEY.public_bytes, "n")
        self.client = ControlClient(membership, now=clock.now(), random=os.urandom)
        self._news = asyncio.Event()
        self.link = ControlLink(self.client, url, self.on_activity, fwmark, proxies)
        self.tick()

    def tick(self) -> None:
        self.client.handle_timer(clock.now())
        self.on_activity()

    def on_activity(self) -> None:
        self.link.update()
        self._news.set()

    async def until(self, state: ControlState) -> None:
        await self.until_so(lambda: self.client.state is state)

    async def until_so(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def test_a_link_connects_and_carries_frames(coordinator: Coordinator) -> None:
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()


async def test_the_connection_carries_the_nodes_mark(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[int] = []
    monkeypatch.setattr(dialing, "set_fwmark", lambda sock, mark: marks.append(mark))
    daemon = Daemon(coordinator.url, fwmark=0x01000000)
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()
    assert marks == [0x01000000]


async def test_every_frame_is_reported_in_the_turn_of_the_loop_in_which_it_comes(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    receive_control = ControlClient.receive_control

    def receive(client: ControlClient, number: int, frame: bytes, now: float) -> None:
        receive_control(client, number, frame, now)
        order.append("frame")
        asyncio.get_running_loop().call_soon(order.append, "the next turn of the loop")

    class Noting(Daemon):
        def on_activity(self) -> None:
            order.append("reported")
            super().on_activity()

    monkeypatch.setattr(ControlClient, "receive_control", receive)
    daemon = Noting(coordinator.url)
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()

    after_frames = [order[i + 1] for i, what in enumerate(order) if what == "frame"]
    assert after_frames == ["reported", "reported"]


async def test_stopping_sends_the_last_message_first(coordinator: Coordinator) -> None:
    said = asyncio.Queue[bytes]()

    async def listen(websocket: web.WebSocketResponse) -> None:
        secure = await shake_hands(websocket)
        await websocket.send_bytes(secure.seal(control.encode(REGISTERED)))
        async for message in websocket:
            said.put_nowait(secure.open(message.data))

    coordinator.serve = listen
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.CONNECTED)
    daemon.client.stop(clock.now())
    await daemon.link.close()
    async with asyncio.timeout(PATIENCE):
        assert decode_from_node(await said.get()) == control.Leave()


async def test_a_link_is_reopened_after_the_connection_breaks(
    coordinator: Coordinator,
) -> None:
    async def hang_up(websocket: web.WebSocketResponse) -> None:
        await websocket.close()

    coordinator.serve = hang_up
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.OFFLINE)
    assert "closed the connection" in (daemon.client.error or "")
    coordinator.serve = welcome
    daemon.client.network_changed(clock.now())
    daemon.tick()
    await daemon.until(ControlState.CONNECTED)
    assert coordinator.connections == 2
    await daemon.link.close()


async def test_a_second_connection_takes_over_and_the_first_is_closed(
    coordinator: Coordinator,
) -> None:
    closed = asyncio.Event()

    async def say_nothing_more(websocket: web.WebSocketResponse) -> None:
        await welcome(websocket)
        closed.set()

    coordinator.serve = say_nothing_more
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.CONNECTED)
    (first,) = daemon.client.connections
    coordinator.serve = welcome
    daemon.client.network_changed(clock.now())
    assert daemon.client.connections == (first,)
    await asyncio.sleep(HEAD_START)
    daemon.tick()
    assert first in daemon.client.connections
    await daemon.until_so(lambda: first not in daemon.client.connections)
    async with asyncio.timeout(PATIENCE):
        await closed.wait()
    assert daemon.client.state is ControlState.CONNECTED
    assert coordinator.connections == 2
    await daemon.link.close()


async def test_the_system_ends_a_connection_that_acknowledges_nothing(
    coordinator: Coordinator,
) -> None:
    before = acknowledgement_limits()
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.CONNECTED)
    limit = int(ACKNOWLEDGEMENT_TIMEOUT * 1000)
    assert acknowledgement_limits().count(limit) == before.count(limit) + 1
    await daemon.link.close()


async def test_a_link_closes_when_the_client_gives_up(coordinator: Coordinator) -> None:
    closed = asyncio.Event()

    async def lie(websocket: web.WebSocketResponse) -> None:
        await websocket.receive()
        await websocket.send_bytes(bytes(channel.RESPONSE_LENGTH))
        message = await websocket.receive()
        assert message.type is WSMsgType.CLOSE
        closed.set()

    coordinator.serve = lie
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.OFFLINE)
    async with asyncio.timeout(PATIENCE):
        await closed.wait()
    await daemon.link.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CloseCode.WRONG_KEY, "does not own the key"),
        (CloseCode.MALFORMED, "did not understand"),
        (CloseCode.SILENT, "heard nothing from"),
        (1011, "closed the connection"),
    ],
)
async def test_close_codes_are_explained_in_words(
    coordinator: Coordinator, code: int, words: str
) -> None:
    async def refuse(websocket: web.WebSocketResponse) -> None:
        await websocket.close(code=code)

    coordinator.serve = refuse
    daemon = Daemon(coordinator.url)
    await daemon.until_so(lambda: daemon.client.error is not None)
    assert words in (daemon.client.error or "")
    assert coordinator.url in (daemon.client.error or "")
    await daemon.link.close()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "no coordinator at"),
        (503, "is busy"),
        (307, "sends nodes elsewhere"),
        (426, "behind a proxy that takes 'Upgrade' off requests"),
        (502, "gets no answer from the coordinator behind it"),
        (504, "gets no answer from the coordinator behind it"),
    ],
)
async def test_http_errors_are_explained_in_words(
    coordinator: Coordinator, status: int, words: str
) -> None:
    coordinator.status = status
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.OFFLINE)
    assert words in (daemon.client.error or "")
    await daemon.link.close()


async def test_a_coordinator_is_reached_through_a_proxy(
    coordinator: Coordinator,
) -> None:
    port = int(coordinator.url.rpartition(":")[2])
    async with connect_proxy(port) as proxy:
        daemon = Daemon("http://mesh.test:8443", proxies=proxy.proxies)
        await daemon.until(ControlState.CONNECTED)
        assert proxy.asked == ["CONNECT mesh.test:8443 HTTP/1.1"]
        await daemon.link.close()


async def test_a_proxy_that_leads_nowhere_is_named_and_its_password_is_not(
    coordinator: Coordinator,
) -> None:
    async with connect_proxy(1) as proxy:
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
        daemon = Daemon("http://mesh.test:8443", proxies=proxy.proxies)
        await daemon.until(ControlState.OFFLINE)
        said = daemon.client.error or ""
        assert "does not lead to mesh.test:8443 (HTTP 403)" in said
        assert "secret" not in said
        await daemon.link.close()


async def test_nobody_can_send_a_node_to_another_url(coordinator: Coordinator) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with site_of(note) as elsewhere:
        coordinator.status = 302
        coordinator.headers = {"Location": f"{elsewhere}/admin"}
        daemon = Daemon(coordinator.url)
        await daemon.until(ControlState.OFFLINE)
        await daemon.link.close()
    assert asked == []


@pytest.mark.parametrize(
    "host",
    [
        "caf\xe9.invalid",
        "caf\xff\x00",
        "a" * 256,
        "a..b",
        "b" * 70 + ".invalid",
        "x\x00y",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_name_that_cannot_be_one_is_a_failed_attempt(
    scheme: str, host: str
) -> None:
    daemon = Daemon(f"{scheme}://{host}:1")
    await daemon.until(ControlState.OFFLINE)
    assert "cannot be reached" in (daemon.client.error or "")
    await daemon.link.close()


async def test_what_nobody_expected_is_logged_once_and_the_link_comes_back(
    coordinator: Coordinator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receive_control = ControlClient.receive_control
    failures = 3

    def receive(client: ControlClient, number: int, frame: bytes, now: float) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OverflowError("nobody expected this")
        receive_control(client, number, frame, now)

    monkeypatch.setattr(ControlClient, "receive_control", receive)
    daemon = Daemon(coordinator.url)
    while failures:
        await daemon.until(ControlState.OFFLINE)
        assert "OverflowError" in (daemon.client.error or "")
        daemon.client.network_changed(clock.now())
        daemon.tick()
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()

    (record,) = logged(caplog)
    assert "OverflowError" in record.getMessage()
    assert record.exc_info is not None


async def test_a_frame_that_cannot_be_sent_ends_only_its_connection(
    coordinator: Coordinator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    send, failures = WebSocket.send, 2

    async def fail(websocket: WebSocket, message: bytes) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise OverflowError("nobody expected this")
        await send(websocket, message)

    monkeypatch.setattr(WebSocket, "send", fail)
    daemon = Daemon(coordinator.url)
    for _ in range(2):
        await daemon.until(ControlState.OFFLINE)
        daemon.client.network_changed(clock.now())
        daemon.tick()
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()

    (record,) = logged(caplog)
    assert "OverflowError" in record.getMessage()


async def test_an_owner_that_fails_does_not_end_the_link(
    coordinator: Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Daemon):
        failures = 2

        def on_activity(self) -> None:
            super().on_activity()
            if self.client.state is ControlState.CONNECTED and self.failures:
                self.failures -= 1
                raise ValueError("what was registered cannot be used")

    daemon = Failing(coordinator.url)
    while daemon.failures:
        await daemon.until(ControlState.OFFLINE)
        daemon.client.network_changed(clock.now())
        daemon.tick()
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()
    assert len(logged(caplog)) == 1


async def test_a_port_without_a_listener_is_explained() -> None:
    daemon = Daemon("http://127.0.0.1:1")
    await daemon.until(ControlState.OFFLINE)
    assert "cannot be reached" in (daemon.client.error or "")
    await daemon.link.close()


async def test_a_server_that_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshwg.runtime.control.DIAL_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        daemon = Daemon(f"http://127.0.0.1:{silent.getsockname()[1]}")
        await daemon.until(ControlState.OFFLINE)
        assert "does not answer" in (daemon.client.error or "")
        await daemon.link.close()


async def test_a_coordinator_is_found_by_its_name(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_of: dict[str, str] = {"mesh.test": "127.0.0.1"}
    getaddrinfo = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **options: Any) -> Any:
        return getaddrinfo(name_of.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    daemon = Daemon(coordinator.url.replace("127.0.0.1", "mesh.test"))
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()


async def test_a_coordinator_without_an_address_is_explained() -> None:
    daemon = Daemon("http://nowhere.invalid:1")
    await daemon.until(ControlState.OFFLINE)
    assert "nowhere.invalid:1 cannot be reached" in (daemon.client.error or "")
    await daemon.link.close()


def test_a_name_server_that_hangs_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    asked, released, answered = asyncio.Event(), threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        loop.call_soon_threadsafe(asked.set)
        released.wait(5)
        order.append("the look-up ends")
        answered.set()
        return []

    async def connect_and_leave() -> None:
        daemon = Daemon("http://mesh.test:1")
        await asked.wait()
        daemon.client.stop(clock.now())
        await daemon.link.close()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(connect_and_leave())
    order.append("the loop ends")
    released.set()

    assert answered.wait(5)
    assert order == ["the loop ends", "the look-up ends"]


async def test_a_link_that_never_opened_can_be_closed() -> None:
    daemon = Daemon("http://127.0.0.1:1")
    await daemon.link.close()
    await daemon.link.close()


async def test_a_closed_link_is_not_opened_again(coordinator: Coordinator) -> None:
    daemon = Daemon(coordinator.url)
    await daemon.until(ControlState.CONNECTED)
    await daemon.link.close()

    daemon.link.update()

    assert daemon.client.connections
    assert "control" not in {task.get_name() for task in asyncio.all_tasks()}


@contextlib.asynccontextmanager
async def site_of(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Serve HTTP, and return the URL."""
    application = web.Application()
    application.add_routes([web.get("/{path:.*}", handle)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the link has logged as errors."""
    return [each for each in caplog.records if each.name == "meshwg.runtime.control"]


def acknowledgement_limits() -> list[int]:
    """Return TCP_USER_TIMEOUT of all TCP sockets of this process, in milliseconds."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(int(descriptor))) as copy,
        ):
            option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
            found.append(copy.getsockopt(*option))
    return found


async def welcome(websocket: web.WebSocketResponse) -> None:
    """Let any node in, and listen to it."""
    secure = await shake_hands(websocket)
    await websocket.send_bytes(secure.seal(control.encode(REGISTERED)))
    async for _ in websocket:
        pass


async def shake_hands(websocket: web.WebSocketResponse) -> channel.Channel:
    initiation = (await websocket.receive()).data
    _, response, secure = channel.answer(KEY, initiation, random=os.urandom)
    await websocket.send_bytes(response)
    register = decode_from_node(secure.open((await websocket.receive()).data))
    assert isinstance(register, control.Register)
    return secure
