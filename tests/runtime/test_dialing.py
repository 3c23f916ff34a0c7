"""Connections through an HTTP proxy, and what such a proxy may answer.

What becomes of names with several addresses is tested with the WebSocket's tests.
"""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from meshwg.proxies import Proxy
from meshwg.runtime.dialing import ANSWER_LIMIT, dial
from tests.runtime.connectproxy import HOST, ConnectProxy, connect_proxy
from tests.runtime.test_stream import echo, free_port, serving


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    async with serving(echo) as port, connect_proxy(port) as made:
        yield made


async def test_a_proxy_is_asked_for_a_host_by_its_name(proxy: ConnectProxy) -> None:
    sock = await dial_through(proxy, "mesh.test", 443)

    assert await ask(sock, b"hello") == b"hello"
    assert proxy.asked == ["CONNECT mesh.test:443 HTTP/1.1"]
    assert "Host: mesh.test:443" in proxy.headers
    # As in RFC 7617: the base64 of me:secret.
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.headers


async def test_an_ipv6_address_has_brackets(proxy: ConnectProxy) -> None:
    (await dial_through(proxy, "2001:db8::1", 443)).close()

    assert proxy.asked == ["CONNECT [2001:db8::1]:443 HTTP/1.1"]


@pytest.mark.parametrize("status", [b"407 Proxy Authentication", b"401 Unauthorized"])
async def test_a_proxy_that_wants_a_password_is_named_with_where_to_write_it(
    proxy: ConnectProxy, status: bytes
) -> None:
    proxy.answer = b"HTTP/1.1 " + status + b"\r\n\r\nPlease"

    with pytest.raises(ConnectionError, match="into https_proxy, as http://NAME:PASS"):
        await dial_through(proxy, "mesh.test", 443)


async def test_a_proxy_that_does_not_lead_there_is_named_without_its_password(
    proxy: ConnectProxy,
) -> None:
    proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"

    with pytest.raises(ConnectionError, match=r"does not lead to mesh\.test") as said:
        await dial_through(proxy, "mesh.test", 443)
    assert f"http://{HOST}:{proxy.port}" in str(said.value)
    assert "no_proxy" in str(said.value)
    assert "secret" not in str(said.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nmore than was asked for",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * ANSWER_LIMIT,
        b"\r\n\r\n",
    ],
)
async def test_what_is_no_proxy_is_named(proxy: ConnectProxy, answer: bytes) -> None:
    proxy.answer = answer

    with pytest.raises(ConnectionError, match="does not answer as a proxy"):
        await dial_through(proxy, "mesh.test", 443)


async def test_a_proxy_that_hangs_up_is_named(proxy: ConnectProxy) -> None:
    proxy.answer = b""

    with pytest.raises(ConnectionError, match="closed the connection"):
        await dial_through(proxy, "mesh.test", 443)


async def test_a_proxy_that_is_not_there_is_named() -> None:
    proxy = Proxy(HOST, free_port(), "https_proxy")

    with pytest.raises(ConnectionError, match=f"proxy {proxy} cannot be reached"):
        await dial("mesh.test", 443, proxy=proxy)


async def test_without_a_proxy_a_host_is_reached_directly() -> None:
    async with serving(echo) as port:
        assert await ask(await dial(HOST, port), b"hello") == b"hello"


async def dial_through(proxy: ConnectProxy, host: str, port: int) -> socket.socket:
    found = proxy.proxies.find(host, port, secure=True)
    async with asyncio.timeout(10):
        return await dial(host, port, proxy=found)


async def ask(sock: socket.socket, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(question)
    answer = await reader.read(100)
    writer.close()
    return answer
