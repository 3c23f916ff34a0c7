"""UPnP: port mapping by SOAP over HTTP, the last resort.

Only the gateway is trusted and talked to, and answers and searches have limits.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

from meshwg.nat.gateway import MappedProtocol
from meshwg.runtime.soap import (
    ActionFailed,
    SoapClient,
    SoapFailed,
    SoapService,
    is_at,
)
from meshwg.runtime.socket_options import set_fwmark
from meshwg.transmit import Endpoint

SEARCH_LIMIT = 1.0
"""Seconds for a gateway to answer a search."""
SEARCHES = 2
"""Searches sent in that time: multicast is often lost on wireless links."""
CALL_LIMIT = 5.0
"""Seconds to read the gateway's description, or to change a mapping."""
MAX_DATAGRAM = 4096
PORT_ATTEMPTS = 3

SSDP_GROUP = "239.255.255.250"
SSDP_PORT = 1900
GATEWAY_DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
CONNECTION_SERVICES = (
    "urn:schemas-upnp-org:service:WANIPConnection:",
    "urn:schemas-upnp-org:service:WANPPPConnection:",
)
CONFLICT_IN_MAPPING_ENTRY = 718
ONLY_PERMANENT_LEASES_SUPPORTED = 725

DESCRIPTION = "meshwg"

logger = logging.getLogger(__name__)


class UpnpFailed(Exception):
    """The text completes the sentence "UPnP ..."."""


class UpnpGateway:
    """A gateway that maps ports by UPnP, with the service that does it."""

    def __init__(
        self,
        client: SoapClient,
        service: SoapService,
        local: str,
        protocol: MappedProtocol = MappedProtocol.UDP,
    ) -> None:
        self._client = client
        self._protocol = protocol
        self._service = service
        self._local = local

    @classmethod
    async def find(
        cls,
        gateway: str,
        local: str,
        fwmark: int = 0,
        limit: float | None = None,
        protocol: MappedProtocol = MappedProtocol.UDP,
    ) -> "UpnpGateway":
        """Search for the default gateway's service and read its description.

        :param gateway: the only address whose answers count.
        :param local: this host's address towards it.
        :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
        :param limit: seconds to search; :data:`SEARCH_LIMIT` unless given.
        :param protocol: of the ports to map.
        :raises UpnpFailed: if there is none.
        """
        async with _failing("cannot search"):
            location = await search(gateway, local, fwmark, limit)
        if location is None:
            raise UpnpFailed("finds no gateway")
        client = SoapClient(gateway, fwmark)
        async with _failing("cannot be used"):
            services = await client.services(location)
        for service in services:
            maps_ports = service.kind.startswith(CONNECTION_SERVICES)
            if maps_ports and is_at(service.url, gateway):
                return cls(client, service, local, protocol)
        raise UpnpFailed("finds a gateway that maps no ports")

    async def external_address(self) -> str:
        """Return the external address that the gateway reports.

        :raises UpnpFailed: if it reports none.
        """
        async with _failing("does not report the external address"):
            answer = await self._call("GetExternalIPAddress")
            return answer["NewExternalIPAddress"]

    async def map(
        self, internal_port: int, external_port: int, lifetime: int
    ) -> tuple[Endpoint, int]:
        """Map a port, or renew its mapping.

        :param external_port: the preferred one; if it is in use, another is tried.
        :param lifetime: in seconds.
        :return: the external endpoint and the lifetime, 0 for a permanent mapping.
        :raises UpnpFailed: if it cannot be mapped.
        """
        async with _failing("is refused"):
            host = await self.external_address()
            port, lifetime = await self._add(internal_port, external_port, lifetime)
        return Endpoint(host, port), lifetime

    async def unmap(self, external_port: int) -> None:
        """Delete the mapping of a port.

        :raises UpnpFailed: if it cannot be deleted.
        """
        async with _failing("does not delete the mapping"):
            await self._call(
                "DeletePortMapping",
                NewRemoteHost="",
                NewExternalPort=external_port,
                NewProtocol=self._protocol.name,
            )

    async def _add(
        self, internal_port: int, external_port: int, lifetime: int
    ) -> tuple[int, int]:
        for attempt in range(PORT_ATTEMPTS):
            if attempt:
                external_port = 1024 + int.from_bytes(os.urandom(4)) % (65_536 - 1024)
            try:
                await self._add_mapping(internal_port, external_port, lifetime)
                return external_port, lifetime
            except ActionFailed as error:
                if error.code == ONLY_PERMANENT_LEASES_SUPPORTED and lifetime:
                    lifetime = 0
                    await self._add_mapping(internal_port, external_port, lifetime)
                    return external_port, lifetime
                if error.code != CONFLICT_IN_MAPPING_ENTRY:
                    raise
        raise UpnpFailed("finds every requested port in use")

    async def _add_mapping(
        self, internal_port: int, external_port: int, lifetime: int
    ) -> None:
        await self._call(
            "AddPortMapping",
            NewRemoteHost="",
            NewExternalPort=external_port,
            NewProtocol=self._protocol.name,
            NewInternalPort=internal_port,
            NewInternalClient=self._local,
            NewEnabled=1,
            NewPortMappingDescription=DESCRIPTION,
            NewLeaseDuration=lifetime,
        )

    async def _call(self, action: str, **arguments: object) -> dict[str, str]:
        return await self._client.call(self._service, action, arguments)


async def search(
    gateway: str, local: str, fwmark: int = 0, limit: float | None = None
) -> str | None:
    """Return where the gateway's description is, or ``None`` if it does not answer.

    :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
    :param limit: seconds to wait for that; :data:`SEARCH_LIMIT` unless given.
    :raises OSError: if nothing can be sent.
    """
    limit = SEARCH_LIMIT if limit is None else limit
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: SearchProtocol(gateway, found), sock=_multicast_socket(local, fwmark)
    )
    try:
        for _ in range(SEARCHES):
            for host in (SSDP_GROUP, gateway):
                transport.sendto(_question(host), (host, SSDP_PORT))
            await asyncio.wait([found], timeout=limit / SEARCHES)
            if found.done():
                return found.result()
        return None
    finally:
        transport.close()


class SearchProtocol(asyncio.DatagramProtocol):
    """Waits for the gateway's answer to a search, and ignores others."""

    def __init__(self, gateway: str, found: "asyncio.Future[str]") -> None:
        self._gateway = gateway
        self._found = found

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if addr[0] != self._gateway or len(data) > MAX_DATAGRAM or self._found.done():
            return
        location = location_in(data)
        if location is not None and is_at(location, self._gateway):
            self._found.set_result(location)

    def error_received(self, exc: Exception) -> None:
        logger.debug("UPnP search: %s", exc)


def location_in(data: bytes) -> str | None:
    """Return where an answer to a search says that the description is."""
    first, *lines = data.decode("latin-1").splitlines() or [""]
    if first.split()[:2] not in (["HTTP/1.1", "200"], ["HTTP/1.0", "200"]):
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "location":
            return value.strip()
    return None


def _question(host: str) -> bytes:
    return (
        "M-SEARCH * HTTP/1.1\r\n"
        f"HOST: {host}:{SSDP_PORT}\r\n"
        'MAN: "ssdp:discover"\r\n'
        "MX: 1\r\n"
        f"ST: {GATEWAY_DEVICE}\r\n\r\n"
    ).encode()


@contextlib.asynccontextmanager
async def _failing(what: str) -> AsyncIterator[None]:
    """Bound the time, and turn what may go wrong into a reason."""
    try:
        async with asyncio.timeout(CALL_LIMIT):
            yield
    except TimeoutError:
        raise UpnpFailed("takes too long") from None
    except ActionFailed as error:
        raise UpnpFailed(f"{what} (error {error.code})") from None
    except (SoapFailed, OSError, LookupError, ValueError) as error:
        logger.debug("UPnP %s: %r", what, error)
        raise UpnpFailed(what) from None


def _multicast_socket(local: str, fwmark: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        set_fwmark(sock, fwmark)
        sock.bind((local, 0))
        sock.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(local)
        )
    except BaseException:
        sock.close()
        raise
    return sock
