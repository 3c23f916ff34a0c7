"""TCP connections to hosts by their names, directly or through an HTTP proxy.

Through a proxy, only the proxy's name is looked up here: where there is no other way
out, name servers often know no names of the outside, either.
"""

import asyncio
import re
import socket
from collections import deque
from collections.abc import Sequence

from meshwg.proxies import Proxy
from meshwg.runtime.resolver import AddressInfo, look_up
from meshwg.runtime.socket_options import set_fwmark

NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a name is tried, too (RFC 8305)."""
ANSWER_LIMIT = 16 * 1024
"""Bytes of a proxy's answer."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_END = b"\r\n\r\n"
_UNAUTHORISED = (407, 401)
"""The latter is that of some proxies that do not know a password."""


async def dial(
    host: str, port: int, *, fwmark: int = 0, proxy: Proxy | None = None
) -> socket.socket:
    """Return a socket that is connected to a host.

    :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
    :param proxy: through which to go, ``None`` to go directly.
    :raises OSError: why it cannot be reached.
    """
    if proxy is None:
        return await _reach(host, port, fwmark)
    try:
        sock = await _reach(proxy.host, proxy.port, fwmark)
    except OSError as error:
        raise ConnectionError(f"the proxy {proxy} cannot be reached: {error}") from None
    try:
        await _ask(sock, proxy, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have a proxy connect to a host (RFC 9110 section 9.3.6).

    :raises ConnectionError: if it does not.
    """
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    for name, value in proxy.headers.items():
        request += f"{name}: {value}\r\n"
    await loop.sock_sendall(sock, f"{request}\r\n".encode())
    answer = b""
    while _END not in answer and len(answer) < ANSWER_LIMIT:
        data = await loop.sock_recv(sock, ANSWER_LIMIT)
        if not data:
            raise ConnectionResetError(f"the proxy {proxy} closed the connection")
        answer += data
    _judge(answer, proxy, target)


def _judge(answer: bytes, proxy: Proxy, target: str) -> None:
    """Read a proxy's answer.

    :raises ConnectionError: unless it is connected.
    """
    found = _STATUS.match(answer)
    status = int(found[1]) if found is not None else 0
    if status in _UNAUTHORISED:
        raise ConnectionRefusedError(
            f"the proxy {proxy} wants a name and a password that it knows: write them "
            f"into {proxy.variable}, as http://NAME:PASSWORD@HOST:PORT"
        )
    if status and not 200 <= status < 300:
        raise ConnectionRefusedError(
            f"the proxy {proxy} does not lead to {target} (HTTP {status}): have it "
            "permit CONNECT to there, or write the host into no_proxy"
        )
    # Whoever is at the other end waits for this side to speak first.
    if not status or not answer.endswith(_END) or answer.count(_END) != 1:
        raise ConnectionAbortedError(
            f"what {proxy.variable} names, {proxy}, does not answer as a proxy"
        )


async def _reach(host: str, port: int, fwmark: int) -> socket.socket:
    """Return a socket that is connected to a host.

    First at the families of which this machine has a global address: it spares name
    servers questions that some of them never answer. Then at all others: without a
    global IPv4 address 127.0.0.1 serves all the same, and so may a private network.

    :raises OSError: why it cannot be reached.
    """
    tried: list[AddressInfo] = []
    error: OSError | None = None
    for flags in (socket.AI_ADDRCONFIG, 0):
        try:
            kind = socket.SOCK_STREAM
            found = await look_up(host, port, kind=kind, flags=flags)
            new = [each for each in found if each not in tried]
            tried += new
            return await _race(new, fwmark)
        except OSError as problem:
            # What an address did says more than that there is no address.
            if error is None or isinstance(error, socket.gaierror):
                error = problem
    assert error is not None
    raise error


async def _race(addresses: Sequence[AddressInfo], fwmark: int) -> socket.socket:
    """Return a socket that is connected to the first address that answers.

    :raises OSError: that of the last address, if none does.
    """
    waiting = deque(addresses)
    attempts: set[asyncio.Task[socket.socket]] = set()
    error = OSError("it has no address")
    try:
        while waiting or attempts:
            if waiting:
                work = _attempt(waiting.popleft(), fwmark)
                attempts.add(asyncio.create_task(work))
            done, attempts = await asyncio.wait(
                attempts,
                timeout=NEXT_ADDRESS if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winners = [task for task in done if task.exception() is None]
            for late in winners[1:]:
                late.result().close()
            if winners:
                return winners[0].result()
            for task in done:
                failure = task.exception()
                assert isinstance(failure, OSError)
                error = failure
        raise error
    finally:
        for task in attempts:
            task.cancel()
            task.add_done_callback(_close_late)


def _close_late(attempt: asyncio.Task[socket.socket]) -> None:
    """Close a socket that was connected although nobody wants it any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _attempt(address: AddressInfo, fwmark: int) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        set_fwmark(sock, fwmark)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
