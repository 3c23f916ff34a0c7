"""What UPnP says to a gateway by HTTP: its description, and calls of its services.

The gateway is the only host that is talked to, redirects are not followed, answers are
bounded, and their XML may have neither a document type nor entities. Namespaces are
not looked at: routers differ in them.
"""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

import h11

from meshwg.runtime.socket_options import set_fwmark

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

MAX_BODY = 256 * 1024
MAX_DEPTH = 64
"""Elements within each other; descriptions have about twelve."""

_RECEIVE_SIZE = 1 << 14
_LITERAL = "%/:?#[]@!$&'()*+,;=~"
_ENVELOPE = (
    '<?xml version="1.0"?>\r\n'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
    '<u:{action} xmlns:u="{kind}">{arguments}</u:{action}>'
    "</s:Body></s:Envelope>\r\n"
)


class SoapFailed(Exception):
    """The gateway's answer is missing or of no use; the text is for a log."""


class ActionFailed(SoapFailed):
    """The gateway refuses a call.

    :ivar code: its number for the reason.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"error {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class SoapService:
    """A service of a device."""

    kind: str
    """Its type, as ``urn:schemas-upnp-org:service:WANIPConnection:1``."""
    url: str
    """Where its actions are called."""


class SoapClient:
    """Talks to one gateway.

    :param gateway: its address.
    :param fwmark: marks what is sent (SO_MARK), 0 for no mark.
    """

    def __init__(self, gateway: str, fwmark: int = 0) -> None:
        self._gateway = gateway
        self._fwmark = fwmark

    async def services(self, location: str) -> list[SoapService]:
        """Return the services that the description at a URL names.

        :raises SoapFailed: if there is no description.
        :raises OSError: if there is no connection.
        """
        status, document = await self._request("GET", location, [], b"")
        if status != 200:
            raise SoapFailed(f"The description is answered with HTTP {status}")
        roots = records(document, "root")
        base = next((root["URLBase"] for root in roots if "URLBase" in root), location)
        services = [
            SoapService(found["serviceType"], urljoin(base, found["controlURL"]))
            for found in records(document, "service")
            if found.get("serviceType") and found.get("controlURL")
        ]
        if not services:
            raise SoapFailed("The description names no service")
        return services

    async def call(
        self, service: SoapService, action: str, arguments: Mapping[str, object]
    ) -> dict[str, str]:
        """Call an action and return what it answers.

        :raises ActionFailed: if the gateway refuses.
        :raises SoapFailed: if its answer is of no use.
        :raises OSError: if there is no connection.
        """
        listed = "".join(
            f"<{name}>{_escaped(str(value))}</{name}>"
            for name, value in arguments.items()
        )
        kind = _escaped(service.kind)
        body = _ENVELOPE.format(action=action, kind=kind, arguments=listed).encode()
        headers = [
            ("SOAPAction", f'"{service.kind}#{action}"'),
            ("Content-Type", 'text/xml; charset="utf-8"'),
        ]
        status, document = await self._request("POST", service.url, headers, body)
        if status == 200:
            return next(iter(records(document, f"{action}Response")), {})
        for error in records(document, "UPnPError"):
            code = error.get("errorCode", "")
            if code.isascii() and code.isdecimal() and len(code) <= 5:
                raise ActionFailed(int(code))
        raise SoapFailed(f"{action} is answered with HTTP {status}")

    async def _request(
        self, method: str, url: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        if not is_at(url, self._gateway):
            raise SoapFailed("The gateway points to another host")
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        protocol = h11.Connection(h11.CLIENT)
        try:
            request = h11.Request(
                method=method,
                target=quote(target, safe=_LITERAL),
                headers=[
                    ("Host", parts.netloc.rpartition("@")[2]),
                    ("Connection", "close"),
                    ("Content-Length", str(len(body))),
                    *headers,
                ],
            )
            sent = (protocol.send(request) or b"") + (
                protocol.send(h11.Data(data=body)) or b""
            )
            protocol.send(h11.EndOfMessage())
            reader, writer = await self._connect(parts.port or 80)
            with closing(writer):
                writer.write(sent)
                return await _answer(protocol, reader)
        except (h11.ProtocolError, UnicodeError) as error:
            raise SoapFailed(f"Its HTTP is not understood: {error}") from None

    async def _connect(
        self, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        family = socket.AF_INET6 if ":" in self._gateway else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            set_fwmark(sock, self._fwmark)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (self._gateway, port))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise


async def _answer(
    protocol: h11.Connection, reader: asyncio.StreamReader
) -> tuple[int, bytes]:
    status = 0
    body = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await reader.read(_RECEIVE_SIZE))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise SoapFailed("The gateway's answer is too long")
        elif not isinstance(event, h11.InformationalResponse):
            return status, bytes(body)


def records(document: bytes, name: str) -> list[dict[str, str]]:
    """Return the elements of a name, each as the texts of its children.

    :raises SoapFailed: if the document is no XML, or has what no answer needs.
    """
    # Most nodes never need it, and it takes half a megabyte.
    from xml.parsers import expat

    parser = expat.ParserCreate("utf-8")
    found = _Records(name, parser)
    text = document.rstrip(b" \t\r\n\0").decode("utf-8", "replace")
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise SoapFailed(f"Its XML is not understood: {error}") from None
    return found.complete


class _Records:
    """What an XML parser is to collect: see :func:`records`."""

    def __init__(self, name: str, parser: "XMLParserType") -> None:
        self.complete: list[dict[str, str]] = []
        self._name = name
        self._path: list[str] = []
        self._open: list[dict[str, str]] = []
        self._text = ""
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._add
        parser.StartDoctypeDeclHandler = self._refuse

    def _begin(self, name: str, attributes: object) -> None:
        name = name.rpartition(":")[2]
        if len(self._path) >= MAX_DEPTH:
            raise SoapFailed("Its XML is too deep")
        self._path.append(name)
        self._text = ""
        if name == self._name:
            self._open.append({})

    def _end(self, name: str) -> None:
        name = self._path.pop()
        if name == self._name:
            self.complete.append(self._open.pop())
        if self._path and self._path[-1] == self._name:
            self._open[-1][name] = self._text.strip()
        self._text = ""

    def _add(self, text: str) -> None:
        self._text += text

    def _refuse(self, *_: object) -> None:
        raise SoapFailed("Its XML has a document type")


def is_at(url: str, host: str) -> bool:
    """Return whether a URL is HTTP at this very address."""
    try:
        parts = urlsplit(url)
        port_is_usable = parts.port != 0
        return parts.scheme == "http" and parts.hostname == host and port_is_usable
    except ValueError:
        return False


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
