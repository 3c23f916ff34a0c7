"""UPnP: port mapping by SOAP over HTTP, the last resort.

The description and control protocols are async-upnp-client's. What surrounds them is
bounded here: only the gateway is trusted and talked to, redirects are not followed, and
answers and searches have limits.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from async_upnp_client.client import UpnpRequester, UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpActionError, UpnpCommunicationError
from async_upnp_client.ssdp import build_ssdp_search_packet, decode_ssdp_packet

from meshwg.transmit import Endpoint

SEARCH_LIMIT = 1.0
"""Seconds for a gateway to answer a search."""
SEARCHES = 2
"""Searches sent in that time: multicast is often lost on wireless links."""
CALL_LIMIT = 5.0
"""Seconds to read the gateway's description, or to change a mapping."""
MAX_BODY = 256 * 1024
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

    def __init__(self, service: UpnpService, local: str) -> None:
        self._service = service
        self._local = local

    @classmethod
    async def find(cls, gateway: str, local: str) -> "UpnpGateway":
        """Search for the default gateway's service and read its description.

        :param gateway: the only address whose answers count.
        :param local: this host's address towards it.
        :raises UpnpFailed: if there is none.
        """
        async with _failing("cannot search"):
            location = await search(gateway, local)
        if location is None:
            raise UpnpFailed("finds no gateway")
        async with _failing("cannot be used"):
            factory = UpnpFactory(BoundedRequester(gateway), non_strict=True)
            device = await factory.async_create_device(location)
            for service in device.all_services:
                if service.service_type.startswith(CONNECTION_SERVICES):
                    return cls(service, local)
        raise UpnpFailed("finds a gateway that maps no ports")

    async def external_address(self) -> str:
        """Return the external address that the gateway reports.

        :raises UpnpFailed: if it reports none.
        """
        async with _failing("does not report the external address"):
            answer = await self._call("GetExternalIPAddress")
            host = str(answer["NewExternalIPAddress"]).strip()
        return host

    async def map(
        self, internal_port: int, external_port: int, lifetime: int
    ) -> tuple[Endpoint, int]:
        """Map a UDP port, or renew its mapping.

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
        """Delete the mapping of a UDP port.

        :raises UpnpFailed: if it cannot be deleted.
        """
        async with _failing("does not delete the mapping"):
            await self._call(
                "DeletePortMapping",
                NewRemoteHost="",
                NewExternalPort=external_port,
                NewProtocol="UDP",
            )

    async def _add(
        self, internal_port: int, external_port: int, lifetime: int
    ) -> tuple[int, int]:
        for attempt in range(PORT_ATTEMPTS):
            if attempt:
                external_port = 1024 + secrets.randbelow(65_536 - 1024)
            try:
                await self._add_mapping(internal_port, external_port, lifetime)
                return external_port, lifetime
            except UpnpActionError as error:
                if error.error_code == ONLY_PERMANENT_LEASES_SUPPORTED and lifetime:
                    lifetime = 0
                    await self._add_mapping(internal_port, external_port, lifetime)
                    return external_port, lifetime
                if error.error_code != CONFLICT_IN_MAPPING_ENTRY:
                    raise
        raise UpnpFailed("finds every requested port in use")

    async def _add_mapping(
        self, internal_port: int, external_port: int, lifetime: int
    ) -> None:
        await self._call(
            "AddPortMapping",
            NewRemoteHost="",
            NewExternalPort=external_port,
            NewProtocol="UDP",
            NewInternalPort=internal_port,
            NewInternalClient=self._local,
            NewEnabled=True,
            NewPortMappingDescription=DESCRIPTION,
            NewLeaseDuration=lifetime,
        )

    async def _call(self, action: str, **arguments: Any) -> Mapping[str, Any]:
        return await self._service.action(action).async_call(**arguments)


async def search(gateway: str, local: str) -> str | None:
    """Return where the gateway's description is, or ``None`` if it does not answer.

    :raises OSError: if nothing can be sent.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: SearchProtocol(gateway, found), sock=_multicast_socket(local)
    )
    try:
        for _ in range(SEARCHES):
            for host in (SSDP_GROUP, gateway):
                target = (host, SSDP_PORT)
                question = build_ssdp_search_packet(target, 1, GATEWAY_DEVICE)
                transport.sendto(question, target)
            await asyncio.wait([found], timeout=SEARCH_LIMIT / SEARCHES)
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
        try:
            _, headers = decode_ssdp_packet(data, None, addr)
            location = str(headers.get_lower("location", ""))
        except Exception as error:
            # What the library raises about garbage cannot be listed.
            logger.debug("Unusable answer to a UPnP search: %r", error)
            return
        if _is_at(location, self._gateway):
            self._found.set_result(location)

    def error_received(self, exc: Exception) -> None:
        logger.debug("UPnP search: %s", exc)


class BoundedRequester(UpnpRequester):
    """HTTP for the library: to the gateway alone, not redirected, of bounded size."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        if not _is_at(http_request.url, self._gateway):
            raise UpnpCommunicationError("The gateway points to another host")
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                http_request.method,
                http_request.url,
                headers=http_request.headers,
                data=http_request.body,
                allow_redirects=False,
            ) as response,
        ):
            body = await _read_bounded(response.content)
            return HttpResponse(
                response.status, response.headers, body.decode(errors="replace")
            )


async def _read_bounded(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise UpnpCommunicationError("The gateway's answer is too long")
    return bytes(body)


@contextlib.asynccontextmanager
async def _failing(what: str) -> AsyncIterator[None]:
    """Bound the time, and turn whatever a gateway's answer raises into a reason.

    The answers are XML of unknown quality: what the library raises about them cannot
    be listed.
    """
    try:
        async with asyncio.timeout(CALL_LIMIT):
            yield
    except UpnpFailed:
        raise
    except TimeoutError:
        raise UpnpFailed("takes too long") from None
    except UpnpActionError as error:
        raise UpnpFailed(f"{what} (error {error.error_code})") from None
    except Exception as error:
        logger.debug("UPnP %s: %r", what, error)
        raise UpnpFailed(what) from None


def _multicast_socket(local: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((local, 0))
        sock.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(local)
        )
    except BaseException:
        sock.close()
        raise
    return sock


def _is_at(url: str, host: str) -> bool:
    """Return whether a URL is HTTP at this very address."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and parts.hostname == host
    except ValueError:
        return False
