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

Where several nodes of a machine forward, the last one undoes what the first one has
switched on: each finds that noted in the others' tables.

All of that waits until something of what the node offers is approved: before, it is
only seen whether the system would permit it.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.forwarding import Forwarded, forwarding_rules
from meshwg.runtime import exitside, killswitch
from meshwg.runtime.nft import check, nft
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
_SYSTEM = Path(_SETTINGS)
_NOTE = re.compile(r'comment "(ip[\w./-]+)=([0-9])>([0-9])"', re.ASCII)
_TABLE = re.compile(r"meshwg-[\w.-]+", re.ASCII)
_KINDS = (
    *(killswitch.PREFIX, killswitch.OWNED_PREFIX, exitside.PREFIX),
    "meshwg-",
)
"""How names of tables begin, before the interface's; the shortest last."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/thread-self/ns/net")


logger = logging.getLogger(__name__)


class Forwarding:
    """Forwarding between the peers on one interface, and to networks behind the node.

    :param mtu: of the interface, in bytes.
    """

    def __init__(
        self, interface: str, state: StateDirectory, *, mtu: int = DEFAULT_MTU
    ) -> None:
        self._interface = interface
        self._mtu = mtu
        self._forwarded = Forwarded()
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

    async def check(self) -> None:
        """See whether the system would permit it, and change nothing.

        :raises ConfigError: if nftables is missing or refuses such rules.
        :raises NotPermitted: without the right to change the system's settings.
        """
        await check(self._rules(Forwarded(members=True)))
        _try_to_open(_planned())

    async def want(self, forwarded: Forwarded) -> None:
        """Forward this and nothing else; for nothing at all, undo everything.

        :raises ConfigError: if nftables is missing, or refuses the rules; those before
            stand then.
        :raises NotPermitted: without the right to change the system's settings.
        """
        async with self._lock:
            if forwarded == self._forwarded and self.is_on == bool(forwarded):
                return
            if not forwarded:
                await self._disable()
            elif self.is_on:
                await nft(self._rules(forwarded))
            else:
                await self._enable(forwarded)
            self._forwarded = forwarded

    async def disable(self) -> None:
        """Undo everything."""
        async with self._lock:
            await self._disable()

    async def _enable(self, forwarded: Forwarded) -> None:
        changes = await self._inherited() | _planned()
        _try_to_open(changes)
        self._changes = changes
        self._kept_apart = _drops(await self._others(), self._changes)
        try:
            await nft(self._rules(forwarded))
        except ConfigError:
            self._changes.clear()
            raise
        try:
            self._switch_on()
        except OSError as error:
            await self._disable()
            raise _not_permitted(error) from None
        self.is_on = True

    async def _disable(self) -> None:
        self.is_on = False
        await self._undo(self._table)
        self._state.save_forwarding(None)

    def _rules(self, forwarded: Forwarded) -> str:
        return forwarding_rules(
            self._table,
            self._interface,
            forwarded,
            mtu=self._mtu,
            kept_apart=self._kept_apart,
            notes=_noted(self._changes),
        )

    async def _undo(self, table: str) -> None:
        """Restore the earlier values, except those that something else has changed.

        Where another node forwards, it needs them, and does that at its own end.
        """
        if await _siblings(table):
            self._changes.clear()
        for setting, (before, after) in reversed(self._changes.items()):
            with contextlib.suppress(OSError):
                if setting.read_text().strip() == after:
                    setting.write_text(before)
        self._changes.clear()
        with contextlib.suppress(ConfigError):
            await nft(f"delete table inet {table}")

    async def _inherited(self) -> dict[Path, tuple[str, str]]:
        """Return what other nodes of this machine have changed for the same."""
        found: dict[Path, tuple[str, str]] = {}
        for table in await _siblings(self._table):
            for setting, before, after in _NOTE.findall(
                await nft(f"list table inet {table}")
            ):
                if (_SYSTEM / setting).exists():
                    found[_SYSTEM / setting] = before, after
        return found

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
    try:
        names = await _own_tables()
    except ConfigError:
        return []
    for name in names:
        # One that belongs to a process nobody else can remove; it goes with that.
        with contextlib.suppress(ConfigError):
            if not _exists(_interface_of(name)):
                await nft(f"delete table inet {name}")
                undone.append(f"the nftables table {name}")
    return undone


async def _siblings(table: str) -> list[str]:
    """Return the tables of other nodes that forward, and run."""
    try:
        names = await _own_tables()
    except ConfigError:
        return []
    others = (each for each in names if each != table)
    return [
        each
        for each in others
        if each == _of(_interface_of(each)) and _exists(_interface_of(each))
    ]


async def _own_tables() -> list[str]:
    """Return the names of the tables of all hubs.

    :raises ConfigError: if nftables is missing.
    """
    lines = (await nft("list tables")).splitlines()
    names = [line.rpartition(" ")[2] for line in lines if line.startswith("table inet")]
    return [name for name in names if _TABLE.fullmatch(name)]


def _try_to_open(settings: Iterable[Path]) -> None:
    """See whether settings may be changed.

    :raises NotPermitted: if one may not.
    """
    try:
        for setting in settings:
            setting.open("r+").close()
    except OSError as error:
        raise _not_permitted(error) from None


def _noted(changes: Mapping[Path, tuple[str, str]]) -> list[str]:
    """Return changes as other nodes of this machine read them (:data:`_NOTE`)."""
    texts = (
        f"{setting.relative_to(_SYSTEM)}={before}>{after}"
        for setting, (before, after) in changes.items()
    )
    return [each for each in texts if _NOTE.fullmatch(f'comment "{each}"')]


def _not_permitted(error: OSError) -> NotPermitted:
    return NotPermitted(
        f"Forwarding cannot be switched on ({error.strerror}): run the hub as root, "
        "outside of a container that forbids it"
    )


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
