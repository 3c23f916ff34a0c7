"""Changes of the host's network, as netlink tells of them."""

import asyncio
import socket
from collections.abc import Callable

from meshwg.runtime import netlink
from meshwg.runtime.alarm import Alarm


class ChangeWatcher:
    """Calls back when something has changed, as rarely as that will do.

    Until the next call may be, nothing is read: what arrives meanwhile, however much,
    costs as much as one message, and less is kept of it than the socket's buffer holds.

    :param groups: of the protocol, which are watched.
    :param on_change: called soon after the first of some changes.
    :param settle: seconds to wait for changes that belong to the first.
    :param interval: seconds that pass at least between two calls, on average.
    :param burst: the number of calls that may come sooner after a time of quiet.
    :param protocol: of netlink, if it is another one.
    """

    def __init__(
        self,
        groups: int,
        on_change: Callable[[], None],
        *,
        settle: float,
        interval: float,
        burst: int = 1,
        protocol: int = socket.NETLINK_ROUTE,
    ) -> None:
        self._on_change = on_change
        self._settle = settle
        self._interval = interval
        self._tolerance = (burst - 1) * interval
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._report)
        # When the next call would be, if they came as slowly as that.
        self._next = 0.0
        self._socket = netlink.subscribe(groups, protocol)
        self._listen()

    def close(self) -> None:
        """Stop watching."""
        self._alarm.clear()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        now = self._loop.time()
        due = max(now + self._settle, self._next - self._tolerance)
        if due > now:
            self._alarm.set(due, now)
        else:
            self._report()

    def _report(self) -> None:
        self._next = max(self._loop.time(), self._next) + self._interval
        netlink.drain(self._socket)
        self._listen()
        self._on_change()
