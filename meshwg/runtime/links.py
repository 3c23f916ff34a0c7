"""Follows the TUN device's interface: up or down, its MTU, its name, its removal.

In the network namespace of this program, netlink says when to look; nothing runs in
between. The interface may also be moved to another namespace (``ip link set … netns
…``), which is how a container gets its only one; the program and its UDP sockets stay.
A netlink socket there would keep that namespace alive after its container, and with it
the interface. So it is visited instead, once a second, and more often while the
interface is down. In Linux a namespace belongs to a thread, so each visit has a thread
of its own, and that of the event loop stays where it is.

The kernel takes an interface down to move it. That says nothing of what the user wants:
it was moved to be used there. So it counts as up for some seconds after a move, if it
is not up sooner, and a tunnel keeps its sockets and sessions over a move, and is there
for its peers as soon as the interface is.
"""

import asyncio
import ctypes
import errno
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Thread
from typing import TypeVar

from meshwg.runtime import netlink
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.changes import ChangeWatcher
from meshwg.runtime.tun import TunDevice, TunGone

LOOK_INTERVAL = 0.05
"""Seconds between two looks on average, however often netlink asks for one."""
LOOK_BURST = 20
"""Looks that may follow each other at once. A script makes an interface, configures it
and brings it up within milliseconds, and a packet may be on its way to it then."""
VISIT_INTERVAL = 1.0
"""Seconds between two visits of another namespace while the interface is up."""
VISIT_INTERVAL_DOWN = 0.25
"""The same while it is down: it was moved there to be brought up."""
MOVING = 5.0
"""Seconds for which an interface that was moved counts as up: a script that moves it
also configures it and then brings it up."""

DEFAULT_MTU = 1420
"""Assumed of an interface that cannot be seen: what WireGuard usually has."""

_GROUPS = netlink.RTMGRP_LINK | netlink.RTMGRP_IPV4_IFADDR | netlink.RTMGRP_IPV6_IFADDR

_SIOCGIFFLAGS = 0x8913
_SIOCGIFMTU = 0x8921
_IFF_UP = 0x1
_CLONE_NEWNET = 0x40000000

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkState:
    """What ``ip link`` shows of an interface."""

    is_up: bool
    mtu: int
    name: str


class LinkWatcher:
    """Reports the state of a TUN device's interface, first when it is started.

    It also keeps :attr:`~meshwg.runtime.tun.TunDevice.local_addresses` current.

    :param on_change: called with each new state.
    :param on_gone: called once when the interface was removed.
    """

    def __init__(
        self,
        tun: TunDevice,
        on_change: Callable[[LinkState], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._tun = tun
        self._on_change = on_change
        self._on_gone = on_gone
        self._state: LinkState | None = None
        self._changes: ChangeWatcher | None = None
        self._visit = Alarm(self._look)
        self._home = self._place = 0, 0
        self._moving_until = 0.0

    async def start(self) -> None:
        """Report the state, and from now on its changes."""
        self._home = self._place = _identity("/proc/thread-self/ns/net")
        self._changes = ChangeWatcher(
            _GROUPS,
            self._look,
            settle=0.0,
            interval=LOOK_INTERVAL,
            burst=LOOK_BURST,
        )
        self._look()

    def close(self) -> None:
        """Stop reporting."""
        self._visit.clear()
        if self._changes is not None:
            self._changes.close()
        self._changes = None

    def _look(self) -> None:
        """See how the interface is, and plan the next visit if it is elsewhere."""
        self._visit.clear()
        try:
            interval = self._inspect(*self._tun.locate())
        except TunGone:
            self.close()
            self._on_gone()
            return
        except OSError:
            # It was moved or renamed while this looked.
            interval = VISIT_INTERVAL_DOWN
        if interval is not None and self._changes is not None:
            self._visit.set(interval, 0.0)

    def _inspect(self, name: str, namespace: int | None) -> float | None:
        """Report the state; return after how many seconds to look again, if at all.

        :param namespace: a descriptor, which this closes.
        :raises OSError: if the interface is no longer there.
        """
        if namespace is None:
            self._report(*_inspect(name))
            return None
        place = _identity(namespace)
        try:
            if place == self._home:
                state, addresses = _inspect(name)
            else:
                state, addresses = _run_inside(namespace, lambda: _inspect(name))
        except PermissionError:
            logger.warning(
                "No permission to enter the namespace of '%s': its MTU and whether it"
                " is up are not followed; run with CAP_SYS_ADMIN",
                name,
            )
            mtu = self._state.mtu if self._state is not None else DEFAULT_MTU
            self._report(LinkState(True, mtu, name), frozenset())
            return None
        finally:
            os.close(namespace)
        if not state.is_up and self._has_left(place):
            raise OSError(errno.ENODEV, "The interface is being moved")
        is_moving = self._is_moving(place, state)
        self._report(replace(state, is_up=True) if is_moving else state, addresses)
        if place == self._home and not is_moving:
            return None
        return VISIT_INTERVAL if state.is_up else VISIT_INTERVAL_DOWN

    def _is_moving(self, place: tuple[int, int], state: LinkState) -> bool:
        """Return whether it was moved a while ago and has not been up since."""
        now = asyncio.get_running_loop().time()
        if place != self._place:
            self._place, self._moving_until = place, now + MOVING
        if state.is_up:
            self._moving_until = now
        return now < self._moving_until

    def _has_left(self, place: tuple[int, int]) -> bool:
        """Return whether the interface is elsewhere by now.

        The kernel holds a lock from when it takes an interface down to move it until
        this is done. To locate it takes the same lock, to look whether it is up none.
        """
        _, namespace = self._tun.locate()
        if namespace is None:
            return False
        try:
            return _identity(namespace) != place
        finally:
            os.close(namespace)

    def _report(self, state: LinkState, addresses: frozenset[bytes]) -> None:
        self._tun.local_addresses = addresses
        if state != self._state:
            self._state = state
            self._on_change(state)


def _inspect(name: str) -> tuple[LinkState, frozenset[bytes]]:
    """Return the interface's state and all addresses in this thread's namespace.

    :raises OSError: ENODEV if the interface is not in this namespace.
    """
    request = struct.pack("16s24x", os.fsencode(name))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        flags = fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
        mtu = fcntl.ioctl(sock, _SIOCGIFMTU, request)
    is_up = bool(struct.unpack_from("=H", flags, 16)[0] & _IFF_UP)
    state = LinkState(is_up, struct.unpack_from("=i", mtu, 16)[0], name)
    return state, netlink.local_addresses()


def _identity(namespace: int | str) -> tuple[int, int]:
    """Return what identifies a namespace."""
    status = os.stat(namespace)
    return status.st_dev, status.st_ino


def _run_inside(namespace: int, function: Callable[[], T]) -> T:
    """Return what a function returns in a thread inside a network namespace.

    The thread ends at once: if it were kept, it would keep the namespace alive, and
    whatever ran on it next would run there.

    :raises PermissionError: if the namespace may not be entered.
    """
    future: Future[T] = Future()

    def visit() -> None:
        try:
            _enter(namespace)
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)

    thread = Thread(target=visit)
    thread.start()
    thread.join()
    return future.result()


def _enter(namespace: int) -> None:
    """Move this thread into a network namespace (setns, which Python 3.11 lacks)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
