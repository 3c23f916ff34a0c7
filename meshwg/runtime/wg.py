"""A WireGuard interface on its own, as wireguard-go runs one.

The program owns a TUN device and a UAPI socket from its start to its end. The UDP
sockets exist while the interface is up: the link's state, which ``ip link set`` changes
and which is followed into another namespace too, starts and stops the engine.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from meshwg.errors import MeshError
from meshwg.runtime import clock
from meshwg.runtime.background import Parent, fork
from meshwg.runtime.core import find_core, make_datapath
from meshwg.runtime.core_dataplane import make_dataplane
from meshwg.runtime.links import LinkState, LinkWatcher
from meshwg.runtime.packetloop import PacketLoop
from meshwg.runtime.routes import watch_routes
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.uapi import UapiServer, UapiSocket
from meshwg.runtime.udp import UdpSockets
from meshwg.transmit import Endpoint
from meshwg.wireguard.constants import DEFAULT_MTU
from meshwg.wireguard.device import Device

LOG_LEVELS = {
    "verbose": logging.DEBUG,
    "error": logging.ERROR,
    "silent": logging.CRITICAL + 1,
}

logger = logging.getLogger(__name__)


def start(
    name: str,
    *,
    foreground: bool = False,
    log_level: str = "",
    tun_descriptor: int | None = None,
    uapi_descriptor: int | None = None,
) -> None:
    """Run an interface: in the foreground to its end, else until it is usable.

    :param log_level: a key of :data:`LOG_LEVELS`; in the background nothing is logged
        without one.
    :param tun_descriptor: an open TUN device to use instead of making one.
    :param uapi_descriptor: a listening socket to use instead of making one.
    :raises MeshError: if the interface cannot be made; then nothing is left of it.
    """
    find_core()  # Before anything is made, it says what cannot be had.
    tun, uapi_socket = _open(name, tun_descriptor, uapi_descriptor)
    _log(tun.name, log_level)
    if foreground:
        _serve(tun, uapi_socket, ready=lambda: None)
        return
    try:
        parent = fork(keep_output=log_level in ("verbose", "error"))
    except BaseException:
        uapi_socket.close()
        tun.close()
        raise
    # The process that returns to its caller leaves device and socket to the other.
    if parent is not None:
        _serve_in_background(tun, uapi_socket, parent)


def _open(
    name: str, tun_descriptor: int | None, uapi_descriptor: int | None
) -> tuple[TunDevice, UapiSocket]:
    """Return the TUN device and the socket, or leave neither."""
    if tun_descriptor is None:
        tun = TunDevice.open(name, DEFAULT_MTU)
    else:
        tun = TunDevice.from_fd(tun_descriptor)
    try:
        if uapi_descriptor is None:
            return tun, UapiSocket.open(tun.name)
        return tun, UapiSocket.adopt(uapi_descriptor, tun.name)
    except BaseException:
        tun.close()
        raise


def _log(name: str, level: str) -> None:
    """Log to standard error in wireguard-go's form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(levelname)s: ({name}) %(message)s"))
    root = logging.getLogger("meshwg")
    root.addHandler(handler)
    root.setLevel(LOG_LEVELS.get(level, logging.ERROR))
    root.propagate = False


def _serve_in_background(
    tun: TunDevice, uapi_socket: UapiSocket, parent: Parent
) -> None:
    try:
        _serve(tun, uapi_socket, parent.ready)
    except MeshError as error:
        parent.failed(error)
        sys.exit(error.exit_status)


def _serve(tun: TunDevice, uapi_socket: UapiSocket, ready: Callable[[], None]) -> None:
    """Serve, and leave nothing behind."""
    try:
        with asyncio.Runner(loop_factory=PacketLoop) as runner:
            runner.run(serve(tun, uapi_socket, ready))
    finally:
        uapi_socket.close()
        tun.close()


async def serve(
    tun: TunDevice, uapi_socket: UapiSocket, ready: Callable[[], None]
) -> None:
    """Serve until a signal, or until the interface or the socket is removed."""
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, finished.set)
    interface = WireGuardInterface(tun, on_tun_gone=finished.set)
    server = UapiServer(
        uapi_socket, interface, after=interface.turn, on_removal=finished.set
    )
    links = LinkWatcher(tun, interface.follow, on_gone=finished.set)
    routes = watch_routes(interface.follow_routes)
    try:
        await server.start()
        await links.start()
        ready()
        await finished.wait()
    finally:
        routes.close()
        links.close()
        server.close()
        interface.close()


class WireGuardInterface:
    """A device and the sockets that it has while the link is up.

    It is what the UAPI configures (:class:`meshwg.wireguard.uapi.Interface`).

    :param on_tun_gone: called once when the TUN device was removed.
    """

    def __init__(self, tun: TunDevice, *, on_tun_gone: Callable[[], None]) -> None:
        datapath = make_datapath(roaming=True)
        self.device = Device(
            random=os.urandom, unix_time=clock.unix_time, datapath=datapath
        )
        self.listen_port = 0
        self.fwmark = 0
        self._dataplane = make_dataplane(
            self.device, datapath, tun, on_tun_gone=on_tun_gone
        )
        self._sockets: UdpSockets | None = None
        self._link_is_up = False

    def follow(self, link: LinkState) -> None:
        """Go up and down, and change the MTU, with the link."""
        self.device.mtu = link.mtu
        self._link_is_up = link.is_up
        if not link.is_up:
            self._go_down()
        elif self._sockets is None:
            try:
                self._open(self.listen_port)
            except OSError as error:
                logger.error(
                    "UDP port %d cannot be used (%s): set another listen port",
                    self.listen_port,
                    error.strerror,
                )

    @staticmethod
    def index_of(name: str) -> int | None:
        """Return the index of one of the host's interfaces, if there is such a one."""
        try:
            return socket.if_nametoindex(name)
        except OSError:
            return None

    def rebind(self, port: int) -> None:
        """Move to another UDP port, 0 for any; on failure the old one stays.

        :raises OSError: if the port cannot be used.
        """
        if not self._link_is_up:
            self.listen_port = port
        elif self._sockets is None or port != self.listen_port:
            self._open(port)

    def set_fwmark(self, mark: int) -> None:
        """Mark outgoing datagrams for policy routing.

        :raises OSError: if the system refuses the mark.
        """
        if self._sockets is not None:
            self._sockets.set_fwmark(mark)
            self._dataplane.disconnect()
        self.fwmark = mark
        # What was heard before the change must not pin endpoints again after it.
        self.device.settle()
        self.device.unpin_endpoints()

    def follow_routes(self) -> None:
        """Send from where the host's routes lead, after they changed."""
        self._dataplane.follow_routes()

    def turn(self) -> None:
        """Send what the device was configured to send."""
        self._dataplane.turn()

    def close(self) -> None:
        """Stop the engine and close the sockets."""
        self._go_down()
        drops = {drop.name: count for drop, count in self.device.drops.items() if count}
        logger.debug("Dropped: %s", drops or "nothing")

    def _open(self, port: int) -> None:
        """Open sockets on a port, in place of those that are open."""
        sockets = UdpSockets.open(port, self.fwmark, self._unpin)
        previous, self._sockets = self._sockets, sockets
        self.listen_port = sockets.port
        self.device.unpin_endpoints()
        self.device.up(clock.now())
        self._dataplane.start(sockets)
        if previous is not None:
            previous.close()
        logger.info("Up, on UDP port %d", self.listen_port)

    def _go_down(self) -> None:
        """Forget sessions and sockets; the configuration stays, port included."""
        if self._sockets is not None:
            self._dataplane.stop()
            self._sockets.close()
            self._sockets = None
            self.device.down()
            logger.info("Down")

    def _unpin(self, endpoint: Endpoint) -> None:
        """Forget the source address for an endpoint: the system no longer has it."""
        self.device.unpin_endpoints(only=endpoint)
