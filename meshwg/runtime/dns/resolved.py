"""systemd-resolved, over D-Bus (org.freedesktop.resolve1(5)).

It is told which names the mesh's server knows, and asks that server for no others. What
it knows of an interface goes with it, so a node that is killed leaves nothing behind.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbus_fast import BusType, Message, MessageFlag, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from meshwg.dns import resolvconf
from meshwg.errors import MeshError
from meshwg.runtime.dns.file import RESOLV_CONF, read
from meshwg.runtime.dns.integration import Registration

NAME, PATH = "org.freedesktop.resolve1", "/org/freedesktop/resolve1"
MANAGER = "org.freedesktop.resolve1.Manager"
BUS = "org.freedesktop.DBus"
LIMIT = 5.0
"""Seconds for an answer."""
STUBS = ("127.0.0.53", "127.0.0.54")
"""Where programs ask it that know nothing of it."""
NSSWITCH = Path("/etc/nsswitch.conf")
NO = "no"

logger = logging.getLogger(__name__)


class Resolved:
    """The service, as one node uses it.

    :param on_return: called when it was started anew, and knows nothing.
    """

    mode = "systemd-resolved"
    forwards = False

    def __init__(self, bus: MessageBus, on_return: Callable[[], None]) -> None:
        self._bus = bus
        self._on_return = on_return
        self._index = 0
        self._applied: Registration | None = None
        bus.add_message_handler(self._on_message)

    @classmethod
    async def find(cls, on_return: Callable[[], None]) -> "Resolved | None":
        """Return the service, ``None`` if programs of this machine do not ask it."""
        if not await asyncio.to_thread(_is_asked):
            return None
        try:
            async with asyncio.timeout(LIMIT):
                bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        except (OSError, TimeoutError, DBusError, EOFError) as error:
            logger.debug("There is no system bus: %s", error)
            return None
        found = cls(bus, on_return)
        try:
            if await found._is_there():
                await found._listen()
                return found
        except MeshError as error:
            logger.debug("%s", error)
        await leave(bus)
        return None

    @property
    def is_lost(self) -> bool:
        """Whether the bus is gone."""
        return not self._bus.connected

    async def apply(self, wanted: Registration) -> tuple[str, ...]:
        """See :class:`~meshwg.runtime.dns.integration.Integration`."""
        index = self._index = wanted.index
        family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
        packed = socket.inet_pton(family, wanted.host)
        server = [int(family), packed, wanted.port, ""]
        domains = [[wanted.domain, False]]
        domains += [[name, True] for name in wanted.reverse_zones]
        if wanted.takes_all:
            domains.append([".", True])
        await self._call("SetLinkDNSEx", "ia(iayqs)", [index, [server]])
        await self._call("SetLinkDomains", "ia(sb)", [index, domains])
        await self._call("SetLinkDefaultRoute", "ib", [index, wanted.takes_all])
        for member in (
            *("SetLinkLLMNR", "SetLinkMulticastDNS"),
            *("SetLinkDNSSEC", "SetLinkDNSOverTLS"),
        ):
            # Those that it was built without it refuses, and does not use.
            with contextlib.suppress(MeshError):
                await self._call(member, "is", [index, NO])
        with contextlib.suppress(MeshError):
            await self._call("FlushCaches", "", [])
        self._applied = wanted
        return ()

    async def has_changed(self) -> bool:
        """Tell whether the interface has other servers by now."""
        wanted = self._applied
        if wanted is None or self.is_lost:
            return True
        link = await self._call("GetLink", "i", [wanted.index])
        value = await self._call(
            "Get",
            "ss",
            ["org.freedesktop.resolve1.Link", "DNSEx"],
            path=link[0],
            interface="org.freedesktop.DBus.Properties",
        )
        ports = [server[2] for server in value[0].value]
        return ports != [wanted.port]

    async def undo(self) -> None:
        """Have it forget what it knows of the interface."""
        if self._applied is not None and not self.is_lost:
            with contextlib.suppress(MeshError):
                await self._call("RevertLink", "i", [self._applied.index])
        self._applied = None
        await leave(self._bus)

    async def _is_there(self) -> bool:
        answer = await self._call("NameHasOwner", "s", [NAME], bus=True)
        return answer == [True]

    async def _listen(self) -> None:
        """Ask to be told when the service was started anew."""
        rule = f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{NAME}'"
        await self._call("AddMatch", "s", [rule], bus=True)

    def _on_message(self, message: Message) -> bool:
        is_owner = (
            message.message_type is MessageType.SIGNAL
            and message.member == "NameOwnerChanged"
            and message.body[:1] == [NAME]
        )
        if is_owner and message.body[2] and self._applied is not None:
            self._on_return()
        return False

    async def _call(
        self,
        member: str,
        signature: str,
        body: list[Any],
        *,
        bus: bool = False,
        path: str = PATH,
        interface: str = MANAGER,
    ) -> list[Any]:
        """Call a method, and return its answer.

        :param bus: whether it is one of the bus itself.
        :raises MeshError: if it fails.
        """
        message = Message(
            destination=BUS if bus else NAME,
            path="/org/freedesktop/DBus" if bus else path,
            interface=BUS if bus else interface,
            member=member,
            signature=signature,
            body=body,
            # Who has stopped it wants it to be stopped.
            flags=MessageFlag.NO_AUTOSTART,
        )
        try:
            async with asyncio.timeout(LIMIT):
                reply = await self._bus.call(message)
        except (OSError, TimeoutError, DBusError, EOFError) as error:
            raise MeshError(f"systemd-resolved does not answer ({error})") from None
        if reply is None or reply.message_type is MessageType.ERROR:
            why = "" if reply is None else str((reply.body or [reply.error_name])[0])
            raise MeshError(f"systemd-resolved refuses {member} ({why[:200]})")
        answer: list[Any] = reply.body
        return answer


async def leave(bus: MessageBus) -> None:
    """Close the connection to a bus, if that was not lost before."""
    bus.disconnect()
    with contextlib.suppress(OSError, EOFError, TimeoutError, DBusError):
        async with asyncio.timeout(LIMIT):
            await bus.wait_for_disconnect()


def is_named() -> bool:
    """Tell whether programs ask it by its address, so that none finds names without."""
    servers = resolvconf.read(read(RESOLV_CONF) or "").servers
    return any(each in STUBS for each in servers)


def _is_asked() -> bool:
    """Tell whether this machine's programs ask the service."""
    if is_named():
        return True
    for line in (read(NSSWITCH) or "").splitlines():
        word, _, rest = line.partition(":")
        if word.strip() == "hosts":
            return "resolve" in rest.split()
    return False
