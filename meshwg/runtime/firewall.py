"""Keeps the host's own firewall from dropping what the mesh carries.

What a hub forwards is accepted at the head of each chain that might drop it, and the
rule is put back when the firewall was reloaded; all of them are removed at the end.
What cannot be mended here is said: :class:`~meshwg.health.Complaint`.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from ipaddress import ip_network

from meshwg.errors import ConfigError
from meshwg.firewall import OWN_TABLES, Chain, Ruleset
from meshwg.health import Complaint, Health, Severity
from meshwg.runtime.changes import ChangeWatcher
from meshwg.runtime.nft import list_ruleset, nft
from meshwg.runtime.tasks import TaskSet

DROPS_MESH = "firewall-drops-mesh"
DROPS_FORWARDED = "firewall-drops-forwarded"

NETFILTER = 12
"""NETLINK_NETFILTER, for which Python has no name (linux/netlink.h)."""
NFTABLES_CHANGES = 1 << 6
"""Its group that tells of changed rules: NFNLGRP_NFTABLES is number 7."""

SETTLE = 1.0
"""Seconds for a firewall to be loaded whole."""
INTERVAL = 60.0
"""Seconds between two looks on average, where rules change all the time."""
BURST = 10
"""Looks that may come sooner."""

logger = logging.getLogger(__name__)


class Firewall:
    """The host's firewall, as far as it concerns one interface.

    :param health: where the user is told; what is new there is logged, too.
    :param forwards: whether packets between peers are to pass.
    """

    def __init__(self, interface: str, health: Health, *, forwards: bool) -> None:
        self._interface = interface
        self._comment = comment_of(interface)
        self._health = health
        self._forwards = forwards
        self._networks: tuple[str, ...] = ()
        self._watcher: ChangeWatcher | None = None
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Let pass what is forwarded, and watch the firewall from now on."""
        with contextlib.suppress(OSError):
            self._watcher = ChangeWatcher(
                NFTABLES_CHANGES,
                self._look_again,
                settle=SETTLE,
                interval=INTERVAL,
                burst=BURST,
                protocol=NETFILTER,
            )
        if self._forwards:
            await self._look()

    def want(self, networks: Iterable[str]) -> None:
        """Take note of the networks of the mesh, and see whether they are dropped."""
        new = tuple(networks)
        if self._networks != new:
            self._networks = new
            self._look_again()

    async def close(self) -> None:
        """Remove all rules."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        self._tasks.cancel()
        if self._forwards:
            async with self._lock:
                await remove_rules({self._comment})

    def _look_again(self) -> None:
        self._tasks.run(self._look())

    async def _look(self) -> None:
        async with self._lock:
            ruleset = await read_ruleset()
            if ruleset is None:
                return
            if self._forwards:
                self._put(DROPS_FORWARDED, await self._let_pass(ruleset))
            self._put(DROPS_MESH, self._dropped(ruleset))

    async def _let_pass(self, ruleset: Ruleset) -> Complaint | None:
        """Accept what is forwarded in all chains that might drop it."""
        accepting = ruleset.rules_with_comment(self._comment)
        present = {chain.place for chain, _ in accepting}
        name, comment = f'"{self._interface}"', f'"{self._comment}"'
        refusing: dict[str, str] = {}
        for chain in ruleset.chains_that_drop_forwarded():
            if chain.place in present:
                continue
            rule = f"iifname {name} oifname {name} counter accept comment {comment}"
            try:
                await nft(f"insert rule {chain.place} {rule}")
            except ConfigError as error:
                refusing[chain.place] = str(error)
            else:
                logger.info(
                    "The firewall's chain %s lets pass what this hub forwards, until "
                    "the hub stops",
                    chain.place,
                )
        return _not_passing(refusing, self._interface)

    def _dropped(self, ruleset: Ruleset) -> Complaint | None:
        for network in map(ip_network, self._networks):
            chain = ruleset.chain_that_drops_source(network, self._interface)
            if chain is not None:
                return _dropping(chain, str(network))
        return None

    def _put(self, code: str, complaint: Complaint | None) -> None:
        if complaint is not None and complaint not in self._health:
            logger.warning("%s", f"{complaint.text} {complaint.mend}")
        self._health.put(code, complaint)


def comment_of(interface: str) -> str:
    """Return what marks the rules of a node in chains of others."""
    return f"{OWN_TABLES}{interface}"


async def read_ruleset() -> Ruleset | None:
    """Return the host's rules, ``None`` if they cannot be read."""
    try:
        return await asyncio.to_thread(Ruleset, await list_ruleset())
    except (ConfigError, ValueError) as error:
        logger.debug("The firewall's rules are not known: %s", error)
        return None


async def remove_rules(comments: Iterable[str]) -> list[str]:
    """Remove the rules of these comments; return the chains they were in."""
    ruleset = await read_ruleset()
    if ruleset is None:
        return []
    removed = []
    for comment in comments:
        for chain, rule in ruleset.rules_with_comment(comment):
            with contextlib.suppress(ConfigError):
                await nft(f"delete rule {chain.place} handle {rule.handle}")
                removed.append(chain.place)
    return removed


async def remove_leftover_rules() -> list[str]:
    """Remove the rules of nodes whose interface is gone; return what was undone."""
    ruleset = await read_ruleset()
    if ruleset is None:
        return []
    alive = {comment_of(name) for _, name in socket.if_nameindex()}
    removed = await remove_rules(ruleset.comments() - alive)
    return [f"a rule in the firewall's chain {place}" for place in removed]


def _not_passing(refusing: dict[str, str], interface: str) -> Complaint | None:
    if not refusing:
        return None
    chains = ", ".join(refusing)
    return Complaint(
        DROPS_FORWARDED,
        Severity.FAILURE,
        f"This machine's firewall drops what the hub forwards, in {chains}, and does "
        f"not let it be changed ({next(iter(refusing.values()))}).",
        f"Let packets pass there that come from {interface} and go to {interface}; "
        "with firewalld: firewall-cmd --permanent --zone=trusted "
        f"--add-interface={interface}.",
    )


def _dropping(chain: Chain, network: str) -> Complaint:
    is_tailscale = chain.name.startswith("ts-")
    whose = " That is Tailscale's, which takes 100.64.0.0/10 for its own."
    return Complaint(
        DROPS_MESH,
        Severity.FAILURE,
        f"This machine's firewall drops what comes from the mesh: a rule in "
        f"{chain.place} drops whatever has its source in {network} and comes by "
        f"another interface than its own.{whose if is_tailscale else ''}",
        "Give the mesh another network with 'meshwg-coordinator serve --network4', or "
        + (
            "run 'tailscale set --netfilter-mode=off' here."
            if is_tailscale
            else "accept the mesh's interface before that rule."
        ),
    )
