"""What a hub needs of the system: packets go through it, from the mesh to the mesh.

Forwarding is switched on, and a table of nftables of the hub's own lets the packets
through and keeps TCP from sending segments that the next tunnel cannot carry. It also
keeps the kernel from telling each sender that there is a shorter way: there is none.
A system that forwards IPv6 would stop to listen to router advertisements; those who did
go on. All is undone when the hub stops; the table a killed one left is replaced by the
next.
"""

import asyncio
import contextlib
from pathlib import Path

from meshwg.errors import ConfigError, NotPermitted

_SWITCHES = (
    Path("/proc/sys/net/ipv4/ip_forward"),
    Path("/proc/sys/net/ipv6/conf/all/forwarding"),
)
_SETTINGS_OF_INTERFACES = Path("/proc/sys/net/ipv6/conf")
_RULES = """
table inet {table}
delete table inet {table}
table inet {table} {{
  chain forward {{
    type filter hook forward priority filter; policy accept
    iifname {name} oifname {name} tcp flags syn tcp option maxseg size set rt mtu
    iifname {name} oifname {name} accept
  }}
  chain output {{
    type filter hook output priority filter; policy accept
    oifname {name} icmp type redirect drop
    oifname {name} icmpv6 type nd-redirect drop
  }}
}}
"""


class Forwarding:
    """Forwarding between the peers on one interface."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._table = f"meshwg-{interface}"
        self._before: dict[Path, str] = {}

    async def enable(self) -> None:
        """Let packets through.

        :raises ConfigError: if nftables is missing or refuses the rules.
        :raises NotPermitted: without the right to change the system's settings.
        """
        await _nft(_RULES.format(table=self._table, name=f'"{self._interface}"'))
        try:
            self._switch_on()
        except OSError as error:
            await self.disable()
            raise NotPermitted(
                f"Forwarding cannot be switched on ({error.strerror}): run the hub as "
                "root, outside of a container that forbids it"
            ) from None

    async def disable(self) -> None:
        """Undo everything."""
        for setting, value in reversed(self._before.items()):
            with contextlib.suppress(OSError):
                setting.write_text(value)
        self._before.clear()
        with contextlib.suppress(ConfigError):
            await _nft(f"delete table inet {self._table}")

    def _switch_on(self) -> None:
        for setting in _SETTINGS_OF_INTERFACES.glob("*/accept_ra"):
            self._change(setting, "1", "2")
        for switch in _SWITCHES:
            self._change(switch, "0", "1")

    def _change(self, setting: Path, before: str, after: str) -> None:
        """Change a setting that has the value ``before``, and remember that."""
        if setting.exists() and setting.read_text().strip() == before:
            setting.write_text(after)
            self._before[setting] = before


async def _nft(rules: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ConfigError(
            "A hub needs the program nft: install the package nftables"
        ) from None
    _, errors = await process.communicate(rules.encode())
    if process.returncode != 0:
        first = (errors.decode(errors="replace").splitlines() or ["unknown error"])[0]
        raise ConfigError(f"nftables refuses the hub's rules ({first})")
