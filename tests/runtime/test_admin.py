"""The control socket: who may do what, and what becomes of strange requests."""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector

from meshwg.errors import ConfigError, MeshError, NotJoined, NotPermitted
from meshwg.runtime import admin, httpserver
from meshwg.runtime.admin import AdminServer, _listen

Json = dict[str, Any]


async def test_any_user_may_ask(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        assert await ask(session, "GET", "/v1/status") == (200, {"schema": 1})
        assert await ask(session, "POST", "/v1/netcheck", {"timeout": 3}) == (200, {})

    assert daemon.requests == [{"timeout": 3.0}]
    assert stat.S_IMODE(daemon.mode) == 0o666


async def test_others_may_look_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        made = _listen(tmp_path / "run" / "meshwg" / "meshwg.sock")
    finally:
        os.umask(before)

    made.close()
    for directory in (tmp_path / "run", tmp_path / "run" / "meshwg"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    _listen(tmp_path / "meshwg.sock").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_without_bounds_are_refused(tmp_path: Path, number: str) -> None:
    async with serving(tmp_path) as (daemon, session):
        body = f'{{"timeout": {number}}}'
        async with session.post("http://x/v1/netcheck", data=body) as response:
            assert response.status == 400

    assert daemon.requests == []


async def test_everybody_may_ask_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session):
        body = {"target": "db", "port": "tcp/22"}
        assert await ask(session, "POST", "/v1/why", body) == (200, {"asked": body})
        status, _ = await ask(session, "POST", "/v1/why", {"target": 7})

    assert status == 400


async def test_everybody_may_see_exits_and_the_owner_may_choose(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        status, shown = await ask(session, "GET", "/v1/exit")
        assert (status, shown["exits"]) == (200, [])
        body = {"name": "bob", "lan": True}
        assert await ask(session, "POST", "/v1/exit/use", body) == (
            200,
            {"name": "bob"},
        )
        assert await ask(session, "POST", "/v1/exit/off", {}) == (200, {"was": "bob"})

    assert daemon.requests == [body]


async def test_its_own_user_may_stop_the_daemon(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        assert await ask(session, "POST", "/v1/down", {}) == (200, {})

    assert daemon.is_stopped


async def test_its_own_user_may_change_what_is_offered(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        assert (await ask(session, "GET", "/v1/routes"))[0] == 200
        body = {"route": "10.1.0.0/16,priority=5"}
        assert await ask(session, "POST", "/v1/routes/add", body) == (200, {})
        assert await ask(session, "POST", "/v1/routes/remove", body) == (200, {})
        wish = body | {"seconds": 3}
        assert await ask(session, "POST", "/v1/routes/hold", wish) == (200, {})
        use = {"prefix": "10.60.0.10/32", "base": 1, "term": {"holder": "a"}}
        assert await ask(session, "POST", "/v1/lease", use) == (200, {})
        status, _ = await ask(session, "POST", "/v1/routes/add", {"route": 7})

    assert status == 400
    assert daemon.requests == [body, body, wish, use]


async def test_its_own_user_may_accept_a_key(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        body = {"name": "bob", "key": None}
        assert await ask(session, "POST", "/v1/trust/accept", body) == (200, {})
        status, _ = await ask(session, "POST", "/v1/trust/accept", {"name": 7})

    assert daemon.requests == [body]
    assert status == 400


async def test_other_users_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = httpserver._PEER_CREDENTIALS.pack(1, 4242, 4242)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: stranger)

    async with serving(tmp_path) as (daemon, session):
        status, answer = await ask(session, "POST", "/v1/down", {})
        joining = await ask(session, "POST", "/v1/join", {"token": "mwg1-x"})
        accepting = await ask(session, "POST", "/v1/trust/accept", {"name": "bob"})
        looking = await ask(session, "GET", "/v1/trust")
        leaving = await ask(session, "POST", "/v1/exit/off", {})

    assert (leaving[0], leaving[1]["kind"]) == (400, "NotPermitted")
    assert (status, answer["kind"]) == (400, "NotPermitted")
    assert "run as root" in answer["error"]
    assert not daemon.is_stopped
    assert (joining[0], joining[1]["kind"]) == (400, "NotPermitted")
    assert (accepting[0], accepting[1]["kind"]) == (400, "NotPermitted")
    assert looking[0] == 200
    assert daemon.requests == []


async def test_answers_to_pings_come_one_by_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        daemon.answers = [{"n": 1}, {"n": 2}]
        async with session.post("http://x/v1/ping", json={"peer": "bob"}) as response:
            assert response.content_type == "application/x-ndjson"
            lines = [json.loads(line) async for line in response.content]

    assert lines == [{"n": 1}, {"n": 2}]
    assert daemon.ended_pings == 1


async def test_an_error_before_the_first_answer_is_an_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        daemon.answers = [NotJoined("Not yet")]
        answer = await ask(session, "POST", "/v1/ping", {"peer": "bob"})

    assert answer == (400, {"error": "Not yet", "kind": "NotJoined"})


async def test_an_error_after_answers_is_the_last_of_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        daemon.answers = [{"n": 1}, MeshError("Gone")]
        async with session.post("http://x/v1/ping", json={}) as response:
            lines = [json.loads(line) async for line in response.content]

    assert lines == [{"n": 1}, {"error": "Gone", "kind": "MeshError"}]


async def test_pinging_ends_when_the_client_has_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as (daemon, session):
        daemon.endless = True
        response = await session.post("http://x/v1/ping", json={"peer": "bob"})
        await response.content.readline()
        response.close()
        async with asyncio.timeout(10):
            await daemon.ping_ended.wait()

    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The request is not a JSON object"),
        (b"[]", "The request is not a JSON object"),
        (b"\xff", "The request is not a JSON object"),
        (b'{"peer": 5}', "The request's field peer has the wrong type"),
        (b'{"count": "all"}', "The request's field count has the wrong type"),
        (b'{"count": true}', "The request's field count has the wrong type"),
        (b'{"timeout": []}', "The request's field timeout has the wrong type"),
    ],
)
async def test_a_strange_request_is_explained(
    tmp_path: Path, body: bytes, sentence: str
) -> None:
    async with (
        serving(tmp_path) as (daemon, session),
        session.post("http://x/v1/ping", data=body) as response,
    ):
        answer = await response.json()

    assert response.status == 400
    assert answer["error"] == sentence
    assert daemon.requests == []


async def test_an_oversized_request_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as (daemon, session):
        body = b" " * (admin.MAX_BODY + 1)
        async with session.post("http://x/v1/ping", data=body) as response:
            assert response.status == 413

    assert daemon.requests == []


async def test_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path):
        assert socket_path(tmp_path).exists()

    assert not socket_path(tmp_path).exists()


async def test_the_socket_of_another_process_stays(tmp_path: Path) -> None:
    async with serving(tmp_path):
        socket_path(tmp_path).unlink()
        socket_path(tmp_path).write_text("mine")

    assert socket_path(tmp_path).read_text() == "mine"


async def test_a_brief_status_says_how_many_peers_it_leaves_out(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session):
        assert await ask(session, "GET", "/v1/status/brief") == (
            200,
            {"schema": 1, "more": 7},
        )


async def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    socket_path(tmp_path).parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(tmp_path)))

    async with serving(tmp_path) as (_, session):
        assert (await ask(session, "GET", "/v1/status"))[0] == 200


async def test_a_second_daemon_is_turned_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, session):
        second = AdminServer(FakeDaemon(), socket_path(tmp_path))
        with pytest.raises(ConfigError, match="Another daemon listens at"):
            await second.start()
        await second.close()

        assert (await ask(session, "GET", "/v1/status"))[0] == 200


@pytest.mark.parametrize("where", ["file/below/sock", "file", "x" * 120])
async def test_an_unusable_path_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    server = AdminServer(FakeDaemon(), tmp_path / where)

    with pytest.raises(ConfigError, match="name another one with --control-socket"):
        await server.start()
    await server.close()


async def test_missing_rights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "chmod", refuse)

    with pytest.raises(NotPermitted, match="Permission denied"):
        await AdminServer(FakeDaemon(), socket_path(tmp_path)).start()


class FakeDaemon:
    """What the server serves."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.answers: list[Json | MeshError] = []
        self.endless = False
        self.is_stopped = False
        self.ended_pings = 0
        self.ping_ended = asyncio.Event()
        self.mode = 0

    def status(self, *, brief: bool = False) -> Iterator[bytes]:
        yield b'{"schema": 1'
        yield b', "more": 7}' if brief else b"}"

    async def netcheck(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    async def ping(self, request: Json) -> AsyncGenerator[Json]:
        self.requests.append(request)
        try:
            for answer in self.answers:
                if isinstance(answer, MeshError):
                    raise answer
                yield answer
            while self.endless:
                yield {"padding": "x" * 1000}
                await asyncio.sleep(0)
        finally:
            self.ended_pings += 1
            self.ping_ended.set()

    async def join(self, request: Json) -> Json:
        self.requests.append(request)
        return {"name": "node"}

    def why(self, request: Json) -> Json:
        return {"asked": request}

    def trust(self) -> Json:
        return {"schema": 1, "pins": []}

    def accept(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    def exits(self) -> Json:
        return {"schema": 1, "using": None, "exits": []}

    async def use_exit(self, request: Json) -> Json:
        self.requests.append(request)
        return {"name": "bob"}

    async def exit_off(self) -> Json:
        return {"was": "bob"}

    def routes(self) -> Json:
        return {"schema": 1, "own": [], "peers": []}

    def add_route(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    def remove_route(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    def hold_route(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    async def use_lease(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    def dns(self) -> Json:
        return {"schema": 1, "mode": "off"}

    async def dns_query(self, request: Json) -> Json:
        self.requests.append(request)
        return {}

    def shut_down(self) -> None:
        self.is_stopped = True

    def go_up(self) -> None:
        self.is_stopped = False

    def leave(self) -> dict[str, Any]:
        self.is_stopped = True
        return {"told": True}


def socket_path(directory: Path) -> Path:
    return directory / "run" / "sock"


@asynccontextmanager
async def serving(
    directory: Path,
) -> AsyncGenerator[tuple[FakeDaemon, ClientSession]]:
    """Serve a daemon, and return it with a way to ask it."""
    daemon, path = FakeDaemon(), socket_path(directory)
    server = AdminServer(daemon, path)
    await server.start()
    daemon.mode = os.stat(path).st_mode
    try:
        async with ClientSession(connector=UnixConnector(str(path))) as session:
            yield daemon, session
    finally:
        await server.close()


async def ask(
    session: ClientSession, method: str, path: str, body: Json | None = None
) -> tuple[int, Json]:
    """Return the status and the object of an answer."""
    async with session.request(method, f"http://x{path}", json=body) as response:
        return response.status, await response.json()
