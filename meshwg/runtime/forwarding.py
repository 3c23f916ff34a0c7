"""What a hub and a router need of the system: it forwards packets of the mesh.

Forwarding is switched on, and an nftables table of the node's own lets through what is
meant (:mod:`meshwg.forwarding`). The table
also drops the redirects with which the kernel would point senders to a shorter way:
there is none. What was switched on lets the machine's other interfaces forward to each
other, too, which nobody asked for. So where forwarding was off before, the table drops
what goes between two of the interfaces that are there at that moment. Those that come
later are left alone: Docker, libvirt and their kind rely on forwarding that they find
switched on. A system that forwards IPv6 ignores router advertisements by default, so
interfaces that accepted them are told to go on. Everything is undone when the hub
stops. The earlier settings are first noted in the state directory, so that a node that
is killed undoes its changes at its next start, hub or not; if the system was booted
since, or the node is in another network namespace, nothing is changed.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.forwarding import ForwardedRoute, forwarding_rules
from meshwg.runtime import exitside, killswitch
from meshwg.runtime.nft import nft
from meshwg.runtime.state import StateDirectory
from meshwg.wireguard.constants import DEFAULT_MTU

_SWITCHES = {
    Path("/proc/sys/net/ipv4/ip_forward"): "ipv4",
    Path("/proc/sys/net/ipv6/conf/all/forwarding"): "ipv6",
}
"""What forwards packets of which protocol."""
_INTERFACES = Path("/sys/class/net")
_SETTINGS_OF_INTERFACES = Path("/proc/sys/net/ipv6/conf")
_SETTINGS = "/proc/sys/net/"
_TABLE = re.compile(r"meshwg-[\w.-]+", re.ASCII)
_KINDS = (killswitch.PREFIX, exitside.PREFIX, "meshwg-")
"""How names of tables begin, before the interface's; the shortest last."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/thread-self/ns/net")


logger = logging.getLogger(__name__)


class Forwarding:
    """Forwarding between the peers on one interface, and to networks behind the node.

    :param mtu: of the interface, in bytes.
    :param members: whether peers reach each other through this node.
    """

    def __init__(
        self,
        interface: str,
        state: StateDirectory,
        *,
        mtu: int = DEFAULT_MTU,
        members: bool = True,
    ) -> None:
        self._interface = interface
        self._mtu = mtu
        self._members = members
        self._routes: tuple[ForwardedRoute, ...] = ()
        self._is_exit = False
        self._kept_apart: list[str] = []
        self._lock = asyncio.Lock()
        self.is_on = False
        """Whether the system forwards for this node."""
        self._state = state
        self._table = _of(interface)
        self._changes: dict[Path, tuple[str, str]] = {}
        """The value before and after, of each setting that was changed."""

    async def recover(self) -> bool:
        """Undo what this node left behind if it was killed as a hub.

        :returns: whether there was anything.
        """
        left = self._state.forwarding()
        if left is None:
            return False
        table, changes = str(left.get("table")), left.get("changes")
        if _TABLE.fullmatch(table) and isinstance(changes, dict):
            logger.info("Undoing the forwarding of a hub that was killed")
            if left.get("system") == _system():
                self._changes = _parse_changes(changes)
            await self._undo(table)
        self._state.save_forwarding(None)
        return True

    async def enable(self) -> None:
        """Let packets through.

        :raises ConfigError: if nftables is missing or refuses the rules.
        :raises NotPermitted: without the right to change the system's settings.
        """
        self._changes = _planned()
        self._kept_apart = _drops(await self._others(), self._changes)
        try:
            await nft(self._rules(self._routes, is_exit=self._is_exit))
        except ConfigError:
            self._changes.clear()
            raise
        try:
            self._switch_on()
        except OSError as error:
            await self.disable()
            raise NotPermitted(
                f"Forwarding cannot be switched on ({error.strerror}): run the hub as "
                "root, outside of a container that forbids it"
            ) from None
        self.is_on = True

    async def want(
        self, routes: Iterable[ForwardedRoute], *, is_exit: bool = False
    ) -> None:
        """Forward between the mesh and these networks behind the node, and no others.

        :param is_exit: whether the internet is behind it, too.
        :raises ConfigError: if nftables refuses the rules; those before stand then.
        """
        async with self._lock:
            wanted = tuple(routes)
            if (wanted, is_exit) == (self._routes, self._is_exit):
                return
            if self.is_on:
                await nft(self._rules(wanted, is_exit=is_exit))
            self._routes, self._is_exit = wanted, is_exit

    def _rules(self, routes: Sequence[ForwardedRoute], *, is_exit: bool) -> str:
        return forwarding_rules(
            self._table,
            self._interface,
            mtu=self._mtu,
            members=self._members,
            routes=routes,
            is_exit=is_exit,
            kept_apart=self._kept_apart,
        )

    async def disable(self) -> None:
        """Undo everything."""
        async with self._lock:
            self.is_on = False
            await self._undo(self._table)
        self._state.save_forwarding(None)

    async def _undo(self, table: str) -> None:
        """Restore the earlier values, except those that something else has changed."""
        for setting, (before, after) in reversed(self._changes.items()):
            with contextlib.suppress(OSError):
                if setting.read_text().strip() == after:
                    setting.write_text(before)
        self._changes.clear()
        with contextlib.suppress(ConfigError):
            await nft(f"delete table inet {table}")

    async def _others(self) -> list[str]:
        """Return the interfaces that are no mesh's."""
        names = [name for _, name in socket.if_nameindex()]
        meshes = {*await _own_tables(), self._table}
        names = [each for each in names if each != "lo" and '"' not in each]
        return [each for each in names if _of(each) not in meshes]

    def _switch_on(self) -> None:
        self._note()
        for setting, (_, after) in self._changes.items():
            setting.write_text(after)

    def _note(self) -> None:
        """Write down what is about to be changed."""
        changes = {str(setting): values for setting, values in self._changes.items()}
        note = {"system": _system(), "table": self._table, "changes": changes}
        try:
            self._state.save_forwarding(note)
        except MeshError as error:
            logger.warning("If this hub is killed, forwarding stays on: %s", error)


async def remove_tables() -> list[str]:
    """Remove the tables of nodes whose interface is gone; return what was undone."""
    undone = []
    with contextlib.suppress(ConfigError):
        for name in await _own_tables():
            if not _exists(_interface_of(name)):
                await nft(f"delete table inet {name}")
                undone.append(f"the nftables table {name}")
    return undone


async def _own_tables() -> list[str]:
    """Return the names of the tables of all hubs.

    :raises ConfigError: if nftables is missing.
    """
    lines = (await nft("list tables")).splitlines()
    names = [line.rpartition(" ")[2] for line in lines if line.startswith("table inet")]
    return [name for name in names if _TABLE.fullmatch(name)]


def _of(interface: str) -> str:
    return f"meshwg-{interface}"


def _interface_of(table: str) -> str:
    """Return whose a table is."""
    kind = next(each for each in _KINDS if table.startswith(each))
    return table.removeprefix(kind)


def _planned() -> dict[Path, tuple[str, str]]:
    """Return the settings to change, with the value before and after."""
    interfaces = sorted(_SETTINGS_OF_INTERFACES.glob("*/accept_ra"))
    wanted = dict.fromkeys(interfaces, ("1", "2"))
    wanted |= dict.fromkeys(_SWITCHES, ("0", "1"))
    return {
        setting: (before, after)
        for setting, (before, after) in wanted.items()
        if setting.exists() and setting.read_text().strip() == before
    }


def _drops(interfaces: list[str], changes: Container[Path]) -> list[str]:
    """Return the rules that keep interfaces from forwarding to each other.

    :param changes: what was off before; where it was on, nothing is kept.
    """
    protocols = [each for setting, each in _SWITCHES.items() if setting in changes]
    if len(interfaces) < 2 or not protocols:
        return []
    # What a bridge passes between its ports goes through this chain on some systems.
    lines = [
        f'iifname "{each}" oifname "{each}" accept'
        for each in interfaces
        if (_INTERFACES / each / "bridge").exists()
    ]
    those = ", ".join(f'"{each}"' for each in interfaces)
    lines += [
        f"meta nfproto {each} iifname {{ {those} }} oifname {{ {those} }} counter drop"
        for each in protocols
    ]
    return lines


def _exists(interface: str) -> bool:
    return interface in (name for _, name in socket.if_nameindex())


def _system() -> str:
    """Return what identifies this boot of the system, and the network namespace."""
    return f"{_BOOT.read_text().strip()} {_NAMESPACE.stat().st_ino}"


def _parse_changes(raw: dict[str, Any]) -> dict[Path, tuple[str, str]]:
    """Return the changes in a note; whatever is not a network setting is left out."""
    return {
        Path(setting): (str(values[0]), str(values[1]))
        for setting, values in raw.items()
        if setting.startswith(_SETTINGS) and ".." not in setting
        if isinstance(values, list) and len(values) == 2
    }
