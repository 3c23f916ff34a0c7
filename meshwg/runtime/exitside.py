"""Being an exit: members' packets go on to the internet, and their answers come back.

Only packets to the internet get that far: the data path delivers no others
(:meth:`meshwg.node.members.Members.own_internet`). They leave with an address of this
machine. From the internet, and from the networks that this machine is in, nobody begins
a connection into the mesh by this way. All of it is a table of nftables, which goes
when the node ends, or is no exit any more.
"""

import asyncio
import logging

from meshwg import prefixes
from meshwg.errors import ConfigError
from meshwg.health import Complaint, Health, Severity
from meshwg.routing import LINK_NETWORKS
from meshwg.runtime.nft import nft
from meshwg.runtime.tasks import TaskSet

PREFIX = "meshwg-exit-"
CODE = "exit-not-forwarding"

_RULES = """
table inet {table}
delete table inet {table}
table inet {table} {{
  set near4 {{ type ipv4_addr; flags interval; elements = {{ {near4} }}; }}
  set near6 {{ type ipv6_addr; flags interval; elements = {{ {near6} }}; }}
  chain forward {{
    type filter hook forward priority filter; policy accept
    iifname {name} oifname {name} accept
    iifname {name} tcp flags syn tcp option maxseg size set rt mtu
    oifname {name} tcp flags syn tcp option maxseg size set rt mtu
    oifname {name} ip saddr != @near4 ct state new,invalid counter drop
    oifname {name} ip6 saddr != @near6 ct state new,invalid counter drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept
    iifname {name} oifname != {name} ip daddr != @near4 masquerade
    iifname {name} oifname != {name} ip6 daddr != @near6 masquerade
  }}
}}
"""

logger = logging.getLogger(__name__)


class ExitSide:
    """What one node does to be an exit."""

    def __init__(self, interface: str, health: Health) -> None:
        self._interface = interface
        self._health = health
        self._is_on = self._is_wanted = False
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    def follow(self, is_exit: bool) -> None:
        """Be an exit from now on, or not any more."""
        if is_exit != self._is_wanted:
            self._is_wanted = is_exit
            self._tasks.run(self.settle())

    async def close(self) -> None:
        """Be no exit any more."""
        self._is_wanted = False
        await self.settle()

    async def settle(self) -> None:
        """Have the table as it is to be."""
        async with self._lock:
            if self._is_wanted == self._is_on:
                return
            complaint = None
            try:
                await self._switch(self._is_wanted)
            except ConfigError as error:
                complaint = _not_forwarding(error)
                logger.warning("%s", complaint.text)
            else:
                self._is_on = self._is_wanted
                said = "is an exit now" if self._is_on else "is no exit any more"
                logger.info("This node %s", said)
            self._health.put(CODE, complaint)

    async def _switch(self, on: bool) -> None:
        table = PREFIX + self._interface
        if on:
            await nft(rules_text(table, self._interface))
        else:
            await nft(f"delete table inet {table}")


def rules_text(table: str, interface: str) -> str:
    """Return the table for nft, in place of an earlier one."""
    near = {
        version: ", ".join(
            str(each)
            for each in (*prefixes.private(version), *LINK_NETWORKS)
            if each.version == version
        )
        for version in (4, 6)
    }
    return _RULES.format(
        table=table, name=f'"{interface}"', near4=near[4], near6=near[6]
    )


def _not_forwarding(error: ConfigError) -> Complaint:
    return Complaint(
        CODE,
        Severity.FAILURE,
        f"This exit leads nobody to the internet: {error}.",
        "Mend that, and start the node again.",
    )
