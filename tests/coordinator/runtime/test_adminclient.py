"""The administration of a coordinator from elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coordinator.administration.problems import Problem
from coordinator.runtime.adminclient import AdministrationClient
from meshwg.errors import ConfigError, CoordinatorError, MeshError
from tests.coordinator.programs import loopback, running

NOTHING: dict[str, str] = {}


async def test_what_is_asked_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        client = AdministrationClient(process.public.url, foundation.admin_token)
        path = {"user": "alice@example.org"}
        added = await client.ask("add-user", path=path, query=NOTHING, body=b"")
        assert added["user"]["name"] == "alice@example.org"
        query = {"comment": "ü & co"}
        text = b"# nothing\n"
        await client.ask("apply-policy", path=NOTHING, query=query, body=text)
        shown = await client.ask("show-policy", path=NOTHING, query=NOTHING, body=b"")
        assert shown["policy"]["comment"] == "ü & co"


async def test_a_problem_comes_with_its_sentence_and_exit_status(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (process, foundation):
        client = AdministrationClient(process.public.url, foundation.admin_token)
        path = {"node": "a/b"}
        with pytest.raises(Problem, match="no node a/b") as caught:
            await client.ask("show-node", path=path, query=NOTHING, body=b"")
        assert (caught.value.status, caught.value.exit_status) == (404, 1)
        with pytest.raises(Problem) as caught:
            await client.ask(
                "add-user",
                path={"user": "x"},
                query=NOTHING,
                body=b"",
                if_match='"old"',
            )
        assert caught.value.status == 412
        stranger = AdministrationClient(process.public.url, "wrong")
        with pytest.raises(Problem, match="token is wrong") as caught:
            await stranger.ask("list-nodes", path=NOTHING, query=NOTHING, body=b"")
        assert caught.value.exit_status == 5


@pytest.mark.parametrize(
    "server",
    ["", "mesh", "ftp://mesh", "https://", "https://x:y", "http://[::1", "h t"],
)
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(ConfigError, match="is no coordinator"):
        AdministrationClient(server, "token")


@pytest.mark.parametrize(
    "server",
    ["http://192.0.2.1", "http://mesh.example.org:8443", "http://[2001:db8::1]"],
)
def test_no_token_goes_over_plain_http(server: str) -> None:
    with pytest.raises(MeshError, match="anybody on the way could read the token"):
        AdministrationClient(server, "token")


@pytest.mark.parametrize(
    "server", ["https://mesh.example.org", "http://localhost:1", "http://[::1]:8443"]
)
def test_other_servers_are_taken(server: str) -> None:
    assert AdministrationClient(server, "token")


async def test_nobody_there_is_said() -> None:
    client = AdministrationClient(f"http://{loopback()}:9", "token")
    with pytest.raises(CoordinatorError, match="cannot be reached"):
        await client.ask("list-nodes", path=NOTHING, query=NOTHING, body=b"")
    client = AdministrationClient("unix:/nowhere/admin.sock", None)
    with pytest.raises(CoordinatorError, match="cannot be reached"):
        await client.ask("list-nodes", path=NOTHING, query=NOTHING, body=b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
    ids=["text", "list", "redirect", "gateway", "ssh", "nothing"],
)
async def test_something_else_that_answers_is_an_error(answer: bytes) -> None:
    async with answering(answer) as url:
        client = AdministrationClient(url, "token")
        with pytest.raises(MeshError):
            await client.ask("list-nodes", path=NOTHING, query=NOTHING, body=b"")


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Something on a port that gives everybody one answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, loopback(), 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield f"http://{host}:{port}"
