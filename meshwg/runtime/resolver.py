"""Turns names into addresses without holding anything up.

A look-up waits in a thread of its own. In the event loop's pool it would keep the
program from ending for as long as a dead name server takes; this one is left behind.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from meshwg.proxies import Proxies
from meshwg.relay.server import RelayServer, RelayUrl, Transport, parse_url
from meshwg.transmit import Endpoint
from meshwg.wire.control import Relay

RETRY = 15.0
"""Seconds until names that were not found are looked up again."""

logger = logging.getLogger(__name__)

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""What :func:`socket.getaddrinfo` returns of each address."""

OnResolved = Callable[[Sequence[Endpoint], Sequence[RelayServer]], None]


class Resolver:
    """Looks up one set of servers at a time; a newer set replaces an older one.

    :param on_resolved: called with what was found, and again when more is.
    :param proxies: which look up the names of what is reached through them.
    """

    def __init__(self, on_resolved: OnResolved, proxies: Proxies | None = None) -> None:
        self._on_resolved = on_resolved
        self._proxies = proxies or Proxies()
        self._task: asyncio.Task[None] | None = None

    def resolve(self, stun: Iterable[str], relays: Iterable[Relay]) -> None:
        """Look these servers up, STUN servers being given as ``host:port``."""
        self.close()
        work = self._resolve(tuple(stun), tuple(relays))
        self._task = asyncio.create_task(work, name="resolver")

    def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _resolve(self, stun: tuple[str, ...], relays: tuple[Relay, ...]) -> None:
        while True:
            # All at once: a dead name server takes its time for each name.
            (servers, missing), (relay_servers, missing_relays) = await asyncio.gather(
                _stun_servers(stun), _relay_servers(relays, self._proxies)
            )
            self._on_resolved(servers, relay_servers)
            if not missing and not missing_relays:
                return
            await asyncio.sleep(RETRY)


async def look_up(
    host: str,
    port: int | None = None,
    *,
    family: socket.AddressFamily = socket.AF_UNSPEC,
    kind: socket.SocketKind = socket.SOCK_DGRAM,
    flags: int = 0,
) -> Sequence[AddressInfo]:
    """Return the addresses of a name (:func:`socket.getaddrinfo`).

    :raises OSError: if it has none.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

    def settle(result: Sequence[AddressInfo] | OSError) -> None:
        if found.done():
            return
        if isinstance(result, OSError):
            found.set_exception(result)
        else:
            found.set_result(result)

    def wait_for_answer() -> None:
        result: Sequence[AddressInfo] | OSError
        try:
            result = socket.getaddrinfo(host, port, family, kind, flags=flags)
        except OSError as error:
            result = error
        except ValueError as error:
            # Letters that no name has: a zero byte, a label that is too long.
            result = socket.gaierror(socket.EAI_NONAME, str(error))
        with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=wait_for_answer, name="resolver", daemon=True).start()
    return await found


async def _stun_servers(stun: tuple[str, ...]) -> tuple[list[Endpoint], bool]:
    """Return the servers whose names were found, and whether some were not."""
    servers: list[Endpoint] = []
    complete = True
    for text in stun:
        host, _, port = text.rpartition(":")
        if not _is_port(port):
            logger.debug("This is no STUN server: %s", text)
            continue
        addresses = await _addresses(host.strip("[]"))
        complete = complete and bool(addresses)
        servers += [Endpoint(address, int(port)) for address in addresses]
    return list(dict.fromkeys(servers)), not complete


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 65536


async def _relay_servers(
    relays: tuple[Relay, ...], proxies: Proxies
) -> tuple[list[RelayServer], bool]:
    servers: list[RelayServer] = []
    complete = True
    for relay in relays:
        try:
            url = parse_url(relay.url)
        except ValueError:
            logger.debug("This version cannot use a relay: %s", relay.url)
            continue
        if _is_proxied(url, proxies):
            addresses = [url.host]
        else:
            addresses = await _addresses(url.host)
        complete = complete and bool(addresses)
        servers += [
            RelayServer(url, address, relay.username, relay.password)
            for address in addresses[:1]
        ]
    return servers, not complete


def _is_proxied(url: RelayUrl, proxies: Proxies) -> bool:
    if url.transport is Transport.UDP:
        return False
    is_secure = url.transport is not Transport.WS
    return proxies.find(url.host, url.port, secure=is_secure) is not None


async def _addresses(host: str) -> list[str]:
    """Return the addresses of a name, IPv4 first; a numeric one is its own."""
    try:
        return [] if "%" in host else [str(ip_address(host))]
    except ValueError:
        pass
    try:
        found = await look_up(host)
    except OSError as error:
        logger.debug("%s cannot be resolved: %s", host, error)
        return []
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    # One with a zone is a neighbour's, and nobody else means the same by it.
    addresses = {each: None for each in addresses if "%" not in each}
    return sorted(addresses, key=lambda address: ":" in address)
