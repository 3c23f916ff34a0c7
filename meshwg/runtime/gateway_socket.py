"""Sockets towards the gateway: one for requests, one for announcements to every host.

The first is connected, so that the kernel drops what comes from elsewhere and reports a
closed port as an error.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from meshwg.nat.gateway import ANNOUNCEMENT_PORT, SERVER_PORT
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.default_gateway import Gateway
from meshwg.runtime.socket_options import set_fwmark
from meshwg.transmit import Endpoint, Transmit

MAX_DATAGRAM = 2048
EVERY_HOST4 = "224.0.0.1"
EVERY_HOST6 = "ff02::1"

logger = logging.getLogger(__name__)


class GatewayMachine(Protocol):
    """What :class:`GatewayDriver` can drive."""

    @property
    def finished(self) -> bool: ...
    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None: ...
    def receive_unreachable(self, now: float) -> None: ...
    def handle_timer(self, now: float) -> None: ...
    def get_timer(self) -> float | None: ...
    def datagrams_to_send(self) -> list[Transmit]: ...


class GatewayDriver:
    """Runs a machine that talks to the gateway, within the running loop."""

    def __init__(
        self, machine: GatewayMachine, on_turn: Callable[[], None] | None = None
    ) -> None:
        """Make a driver that is not connected yet.

        :param on_turn: called whenever the machine may have events.
        """
        self.finished = asyncio.Event()
        self._machine = machine
        self._on_turn = on_turn
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._server = Endpoint("", SERVER_PORT)
        self._alarm = Alarm(self._on_alarm)

    def connect(self, gateway: Gateway) -> None:
        """Talk to this gateway."""
        self.disconnect()
        self._server = Endpoint(gateway.address, SERVER_PORT)
        try:
            self._socket = _open(gateway, self._server)
        except OSError as error:
            logger.debug("Cannot open a socket to %s: %s", gateway.address, error)
        else:
            self._loop.add_reader(self._socket, self._read, self._socket)

    def disconnect(self) -> None:
        """Stop talking to the gateway."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def turn(self) -> None:
        """Send what the machine has to send, report its events and set the alarm."""
        for transmit in self._machine.datagrams_to_send():
            for datagram in transmit.datagrams:
                self._send(datagram)
        if self._on_turn is not None:
            self._on_turn()
        self._alarm.set(self._machine.get_timer(), self._loop.time())
        if self._machine.finished:
            self.finished.set()

    def close(self) -> None:
        """Stop driving the machine."""
        self.disconnect()
        self._alarm.clear()

    def _on_alarm(self) -> None:
        self._machine.handle_timer(self._loop.time())
        self.turn()

    def _send(self, datagram: bytes) -> None:
        """Send a datagram or lose it; the error may be about an earlier one."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._socket.send(datagram)

    def _read(self, sock: socket.socket) -> None:
        now = self._loop.time()
        try:
            data = sock.recv(MAX_DATAGRAM)
        except ConnectionRefusedError:
            self._machine.receive_unreachable(now)
        except OSError:
            return
        else:
            self._machine.receive_datagram(data, self._server, now)
        self.turn()


class Announcements:
    """Hears what a gateway tells every host, such as that it has restarted."""

    def __init__(
        self, gateway: Gateway, on_datagram: Callable[[bytes, Endpoint], None]
    ) -> None:
        """Listen, if the system lets us: another program may hold the port."""
        self._on_datagram = on_datagram
        self._zone = gateway.address.partition("%")[2]
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        try:
            self._socket = _open_group(self._zone, ":" in gateway.address)
        except OSError as error:
            logger.debug("Cannot listen for gateway announcements: %s", error)
        else:
            self._loop.add_reader(self._socket, self._read, self._socket)

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            data, address = sock.recvfrom(MAX_DATAGRAM)
            host = str(address[0]).partition("%")[0]
            zone = f"%{self._zone}" if self._zone else ""
            self._on_datagram(data, Endpoint(f"{host}{zone}", address[1]))


def _open(gateway: Gateway, server: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in gateway.local else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        set_fwmark(sock, gateway.fwmark)
        sock.bind((gateway.local, 0))
        sock.connect((server.host, server.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _open_group(zone: str, is_ipv6: bool) -> socket.socket:
    """Return a socket bound to the group itself, so that it gets nothing else.

    Every host is a member of these groups; nothing has to be joined.
    """
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        group = f"{EVERY_HOST6}%{zone}" if is_ipv6 else EVERY_HOST4
        sock.bind((group, ANNOUNCEMENT_PORT))
    except BaseException:
        sock.close()
        raise
    return sock
