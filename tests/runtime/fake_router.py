"""An Internet Gateway Device of our own making, on an address of the loopback."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from meshwg.runtime import upnp

PUBLIC = "80.94.1.2"
_hosts = itertools.count(1)


class FakeRouter:
    """A router that answers as it is told."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.location = ""
        self.description: bytes | None = None
        self.service = "urn:schemas-upnp-org:service:WANIPConnection:1"
        self.control_url = "/control"
        self.redirect: str | None = None
        self.errors: list[int | str | None] = []
        """What the next calls fail with."""
        self.answer: str | None = None
        self.hangs = False
        self.over = asyncio.Event()
        self.calls: list[dict[str, str]] = []
        self.requests: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.requests.append(request.path)
        if self.redirect is not None:
            raise web.HTTPFound(self.redirect)
        if self.hangs:
            await self.over.wait()
        if request.path == "/desc.xml":
            body = self.description
            if body is None:
                body = DESCRIPTION.format(router=self).encode()
            return web.Response(body=body, content_type="text/xml")
        return self._control(request.headers["SOAPAction"], await request.text())

    def _control(self, header: str, body: str) -> web.Response:
        action = header.strip('"').partition("#")[2]
        arguments = {name: between(body, name) for name in ARGUMENTS}
        self.calls.append({"action": action, **arguments})
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            fault = FAULT.format(code=error)
            return web.Response(status=500, text=fault, content_type="text/xml")
        answer = self.answer
        if answer is None:
            address = f"<NewExternalIPAddress>{PUBLIC}</NewExternalIPAddress>"
            answer = address if action == "GetExternalIPAddress" else ""
        text = ANSWER.format(action=action, service=self.service, answer=answer)
        return web.Response(text=text, content_type="text/xml")


@asynccontextmanager
async def router() -> AsyncIterator[FakeRouter]:
    fake = FakeRouter(next_host())
    server = web.Server(fake.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, fake.host, 0)
    await site.start()
    port = runner.addresses[0][1]
    fake.location = f"http://{fake.host}:{port}/desc.xml"
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: SearchResponder(lambda: fake.location), local_addr=(fake.host, 1900)
    )
    try:
        yield fake
    finally:
        fake.over.set()
        transport.close()
        await runner.cleanup()


class SearchResponder(asyncio.DatagramProtocol):
    def __init__(self, location: Callable[[], str]) -> None:
        self._location = location
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        if data.startswith(b"M-SEARCH"):
            self._transport.sendto(search_answer(self._location()), addr)


def next_host() -> str:
    """Return an address of the loopback that no other test uses at the same time."""
    process, number = os.getpid() % 250, next(_hosts) % 250
    return f"127.19.{process + 1}.{number + 1}"


async def until(condition: Callable[[], object]) -> None:
    """Return once a condition holds."""
    for _ in itertools.repeat(None):
        if condition():
            return
        await asyncio.sleep(0.001)


def search_answer(location: str) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\n"
        f"ST: {upnp.GATEWAY_DEVICE}\r\n"
        f"LOCATION: {location}\r\n"
        "USN: uuid:0\r\n\r\n"
    ).encode()


def between(body: str, name: str) -> str:
    return body.partition(f"<{name}>")[2].partition(f"</{name}>")[0]


ARGUMENTS = (
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
)
DESCRIPTION = """<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0">
 <specVersion><major>1</major><minor>0</minor></specVersion>
 <device>
  <deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
  <friendlyName>fake</friendlyName><manufacturer>fake</manufacturer>
  <modelName>fake</modelName><UDN>uuid:0</UDN>
  <serviceList><service>
   <serviceType>{router.service}</serviceType>
   <serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
   <controlURL>{router.control_url}</controlURL>
   <eventSubURL>/events</eventSubURL><SCPDURL>/scpd.xml</SCPDURL>
  </service></serviceList>
 </device>
</root>"""
ANSWER = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>
<u:{action}Response xmlns:u="{service}">{answer}</u:{action}Response>
</s:Body></s:Envelope>"""
FAULT = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>
<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode>
<errorDescription>no</errorDescription></UPnPError>
</detail></s:Fault></s:Body></s:Envelope>"""
