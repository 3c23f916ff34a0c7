"""The kill switch: nothing leaves this machine beside the exit that it uses.

Routes lead into the mesh while an exit is used, but routes and rules can be removed,
and programs can bind their sockets to an interface. So the last word has a table of
nftables: of what this machine sends, or forwards to the internet, it lets pass only

* what goes into the mesh, or another mesh of this machine;
* what carries the node's own mark: WireGuard's packets and whatever else it needs;
* what answers somebody outside who began to talk to this machine;
* what a link needs itself: DHCP, neighbour discovery, group membership;
* with ``--lan`` what stays in private networks, but no questions about names.

Everything else is refused, which senders hear at once. The table stays when the node
ends, however it ends; the next run of the node replaces it in one step.

Another program may remove all tables there are, as firewalls do that are loaded anew.
The table is put back, but that takes some milliseconds, in which only routes keep
things in, and they cannot hold a program that binds its sockets to an interface. So
while the node runs there is a second table with the same last word, which nobody else
can remove (:mod:`~.ownedtable`).

Who began a connection is what the kernel's tracking of connections says. For those that
were there before it began to look, the sockets say it (:mod:`~.connections`).

A program that answers over UDP without saying from which address gets one of the mesh,
where all goes that says nothing. Where it was asked at another address, that is put in,
before the connection is looked at, and the packet goes where that is.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from meshwg import prefixes
from meshwg.errors import ConfigError
from meshwg.routing import LINK_NETWORKS, answer_mark
from meshwg.runtime.changes import ChangeWatcher
from meshwg.runtime.connections import (
    Connection,
    EarlierConnections,
    earlier_connections,
)
from meshwg.runtime.firewall import NETFILTER, NFTABLES_CHANGES
from meshwg.runtime.nft import nft
from meshwg.runtime.ownedtable import OwnedTable
from meshwg.runtime.tasks import TaskSet

PREFIX = "meshwg-killswitch-"
OWNED_PREFIX = "meshwg-owned-"
INTERVAL, BURST = 2.0, 10
"""Seconds between two looks on average, where rules change all the time, and the looks
that may come sooner. The first comes at once, since not every system has tables that
nobody else can remove."""
MAX_ASKED = 65_536
"""Askers over UDP that are remembered, of each version of IP."""
ANSWER_WITHIN = 180
"""Seconds within which a datagram is an answer to another one, as for the kernel's
tracking of connections."""
_NAME = re.compile(r"[\w.-]+", re.ASCII)

_TABLE = """
table inet {table}
delete table inet {table}
table inet {table} {{
{body}
}}
"""
_CONNECTIONS = """
  chain mark_incoming {{
    type filter hook prerouting priority mangle; policy accept
    iifname {inside} accept
    ct state new ct mark set ct mark or {bit}
    ct direction original {asked4}
    ct direction original {asked6}
    ct direction reply ct mark and {bit} == {bit} meta mark set meta mark or {answer}
  }}
  chain answer {{
    type route hook output priority raw; policy accept
    oifname != "{interface}" accept
    {answer4}
    {answer6}
  }}
"""
_LAST_WORD = """
  chain input {{
    type filter hook input priority -10; policy accept
    iifname {inside} accept
    ct state new ip saddr . tcp sport . tcp dport @begun4 counter drop
    ct state new ip6 saddr . tcp sport . tcp dport @begun6 counter drop
    ct state new udp dport @ports counter drop
  }}
  chain output {{
    type filter hook output priority -10; policy accept
    oifname {inside} accept
    meta mark and {bit} == {bit} accept
    ct state established,related ct direction reply accept
    ip daddr . tcp dport . tcp sport @accepted4 accept
    ip6 daddr . tcp dport . tcp sport @accepted6 accept
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
    ip protocol igmp accept
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit }} accept
    icmpv6 type {{ nd-neighbor-advert, mld2-listener-report }} accept
    icmpv6 type {{ mld-listener-report, mld-listener-done }} accept
{lan}    counter
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept
    iifname {inside} accept
    oifname {inside} accept
    ct state established,related ct direction reply accept
    meta l4proto {{ tcp, udp }} th dport {{ 53, 853 }} counter drop
    ip daddr != @near4 counter drop
    ip6 daddr != @near6 counter drop
  }}
"""
_LAN = """\
    meta l4proto { tcp, udp } th dport { 53, 853 } counter reject
    ip daddr @near4 accept
    ip6 daddr @near6 accept
"""
_ASKED = (
    "update @asked{version} {{ {ip} saddr . udp sport . udp dport }} "
    "update @place{version} {{ {ip} saddr : {ip} daddr }}"
)
_ANSWER = (
    "{ip} daddr . udp dport . udp sport @asked{version} "
    "{ip} saddr set {ip} daddr map @place{version}"
)

logger = logging.getLogger(__name__)


class KillSwitch:
    """The tables of one interface.

    :param interface: the mesh's.
    :param on_look: called after a table that was removed was put back, or with what the
        system says against it.
    """

    def __init__(
        self,
        interface: str,
        on_look: Callable[[ConfigError | None], None] | None = None,
    ) -> None:
        self._interface = interface
        self._on_look = on_look
        self._table = PREFIX + interface
        self._owned: OwnedTable | None = None
        self._wanted: tuple[int, bool, tuple[str, ...]] | None = None
        self._earlier = EarlierConnections()
        self._watcher: ChangeWatcher | None = None
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    async def switch_on(
        self, bit: int, *, lan: bool, others: Sequence[str] = ()
    ) -> None:
        """Let nothing leave from now on, and put that back if it is removed.

        :param bit: of the node's mark.
        :param lan: whether private networks may be reached.
        :param others: the interfaces of other meshes of this machine.
        :raises ConfigError: if nftables is missing or refuses it; all stays as it is.
        """
        wanted = bit, lan, tuple(others)
        async with self._lock:
            if wanted != self._wanted:
                if self._wanted is None:
                    self._earlier = await asyncio.to_thread(earlier_connections)
                await self._install(wanted)
                self._wanted = wanted
        if self._watcher is None:
            self._watch()

    async def switch_off(self) -> None:
        """Let everything leave again."""
        self.close()
        self._wanted = None
        async with self._lock:
            with contextlib.suppress(ConfigError):
                await nft(f"delete table inet {self._table}")

    def close(self) -> None:
        """Watch no longer; the table stays, but for that which is this process's."""
        if self._owned is not None:
            self._owned.close()
            self._owned = None
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        self._tasks.cancel()

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            self._watcher = ChangeWatcher(
                NFTABLES_CHANGES,
                self._look_again,
                settle=0.0,
                interval=INTERVAL,
                burst=BURST,
                protocol=NETFILTER,
            )

    def _look_again(self) -> None:
        self._tasks.run(self._look())

    async def _look(self) -> None:
        """Put the table back, if somebody else has removed it."""
        async with self._lock:
            if self._wanted is None or await is_on(self._interface):
                return
            refusal = None
            try:
                await self._install(self._wanted)
            except ConfigError as error:
                refusal = error
            else:
                logger.warning(
                    "Another program removed the kill switch %s; it was put back",
                    self._table,
                )
            if self._on_look is not None:
                self._on_look(refusal)

    async def _install(self, wanted: tuple[int, bool, tuple[str, ...]]) -> None:
        bit, lan, others = wanted
        names = ("lo", self._interface, *others)
        rules = KillSwitchRules(self._interface, names, bit, self._earlier, lan)
        await nft(rules.table(self._table))
        if self._owned is None:
            self._owned = OwnedTable(OWNED_PREFIX + self._interface)
        await asyncio.to_thread(self._owned.put, rules.last_word())


async def is_on(interface: str) -> bool:
    """Tell whether there is a kill switch for an interface.

    :raises ConfigError: if nftables is missing.
    """
    lines = (await nft("list tables")).splitlines()
    return f"table inet {PREFIX}{interface}" in lines


@dataclass(frozen=True, slots=True)
class KillSwitchRules:
    """What the tables say."""

    interface: str
    """The mesh's."""
    inside: tuple[str, ...]
    """Interfaces of meshes, and of the machine itself."""
    bit: int
    """Of the node's mark."""
    earlier: EarlierConnections
    lan: bool
    """Whether private networks may be reached."""

    def table(self, name: str) -> str:
        """Return commands for nft that make the table, in place of an earlier one."""
        body = f"{_sets(self.earlier)}{self._filled(_CONNECTIONS + _LAST_WORD)}"
        return _TABLE.format(table=name, body=body)

    def last_word(self) -> str:
        """Return sets and chains that decide, by what the other ones have found out."""
        return f"{_sets(self.earlier)}{self._filled(_LAST_WORD)}"

    def _filled(self, chains: str) -> str:
        names = ", ".join(f'"{each}"' for each in self.inside if _NAME.fullmatch(each))
        return chains.format(
            inside=f"{{ {names} }}",
            bit=f"0x{self.bit:08x}",
            interface=self.interface,
            asked4=_ASKED.format(ip="ip", version=4),
            asked6=_ASKED.format(ip="ip6", version=6),
            answer4=_ANSWER.format(ip="ip", version=4),
            answer6=_ANSWER.format(ip="ip6", version=6),
            answer=f"0x{answer_mark(self.bit):08x}",
            lan=_LAN if self.lan else "",
        )


def _sets(earlier: EarlierConnections) -> str:
    lines = []
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        of = f"type {kind} . inet_service . inet_service"
        for name, connections in (
            ("accepted", earlier.accepted),
            ("begun", earlier.begun),
        ):
            lines.append(_set(f"{name}{version}", of, _texts(connections, version)))
        near = (*prefixes.private(version), *LINK_NETWORKS)
        kept = f"flags dynamic, timeout; size {MAX_ASKED}; timeout {ANSWER_WITHIN}s"
        lines.append(f"  set asked{version} {{ {of}; {kept}; }}")
        lines.append(f"  map place{version} {{ type {kind} : {kind}; {kept}; }}")
        texts = [str(each) for each in near if each.version == version]
        lines.append(_set(f"near{version}", f"type {kind}; flags interval", texts))
    lines.append(_set("ports", "type inet_service", list(map(str, earlier.ports))))
    return "\n".join(lines)


def _texts(connections: Iterable[Connection], version: int) -> list[str]:
    unique = dict.fromkeys(each for each in connections if each[0].version == version)
    return [f"{host} . {port} . {own}" for host, port, own in unique]


def _set(name: str, kind: str, elements: Sequence[str]) -> str:
    listed = f"; elements = {{ {', '.join(elements)} }}" if elements else ""
    return f"  set {name} {{ {kind}{listed}; }}"
