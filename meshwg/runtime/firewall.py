"""Keeps the host's own firewall from dropping what the mesh carries.

What a hub forwards, or a node to networks behind it, is accepted at the head of each
chain that might drop it. The rule is put back when the firewall was loaded again, and
all of them are removed at the end. What cannot be mended here is said:
:class:`~meshwg.health.Complaint`.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from ipaddress import ip_network

from meshwg.errors import ConfigError
from meshwg.firewall import OWN_TABLES, Chain, FirewallRule, Ruleset
from meshwg.health import Complaint, Health, Severity
from meshwg.runtime.changes import ChangeWatcher
from meshwg.runtime.nft import list_ruleset, nft
from meshwg.runtime.tasks import TaskSet
from meshwg.runtime.xtables import LegacyFirewall, legacy_owners

DROPS_MESH = "firewall-drops-mesh"
DROPS_FORWARDED = "firewall-drops-forwarded"

NETFILTER = 12
"""NETLINK_NETFILTER, for which Python has no name (linux/netlink.h)."""
NFTABLES_CHANGES = 1 << 6
"""Its group that tells of changed rules: NFNLGRP_NFTABLES is number 7."""

SETTLE = 1.0
"""Seconds for a firewall to be loaded whole."""
LEGACY_INTERVAL = 15.0
"""Seconds between two looks at the tables of iptables-legacy, and with them at all."""
INTERVAL = 60.0
"""Seconds between two looks on average, where rules change all the time."""
BURST = 10
"""Looks that may come sooner."""

logger = logging.getLogger(__name__)


class Firewall:
    """The host's firewall, as far as it concerns one interface.

    :param health: where the user is told; what is new there is logged, too.
    """

    def __init__(self, interface: str, health: Health) -> None:
        self._interface = interface
        self._owner = owner_of(interface)
        self._has_rules = False
        self._health = health
        self._forwards = False
        self._networks: tuple[str, ...] = ()
        self._announced: tuple[str, ...] = ()
        self._legacy = LegacyFirewall(self._owner)
        self._watcher: ChangeWatcher | None = None
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()
        self._rounds = TaskSet()

    async def start(self) -> None:
        """Watch the firewall from now on, and let pass what is forwarded."""
        with contextlib.suppress(OSError):
            self._watcher = ChangeWatcher(
                NFTABLES_CHANGES,
                self._look_again,
                settle=SETTLE,
                interval=INTERVAL,
                burst=BURST,
                protocol=NETFILTER,
            )
        self._rounds.run(self._look_from_time_to_time())

    async def _look_from_time_to_time(self) -> None:
        """Look where nothing tells of changes."""
        while True:
            await asyncio.sleep(LEGACY_INTERVAL)
            if self._forwards or self._announced:
                self._look_again()

    def want(
        self,
        networks: Iterable[str],
        announced: Iterable[str] = (),
        *,
        forwards: bool = False,
    ) -> None:
        """Take note of the networks of the mesh, and of those behind this node.

        What peers send to these, and is sent back, is let pass, too.

        :param forwards: whether packets between peers are to pass.
        """
        new = tuple(networks), tuple(announced), forwards
        if new != (self._networks, self._announced, self._forwards):
            self._networks, self._announced, self._forwards = new
            self._look_again()

    async def close(self) -> None:
        """Remove all rules."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        self._rounds.cancel()
        self._tasks.cancel()
        async with self._lock:
            if self._forwards or self._has_rules:
                await remove_rules({self._owner})
            await self._legacy.close()

    def _look_again(self) -> None:
        self._tasks.run(self._look())

    async def _look(self) -> None:
        async with self._lock:
            ruleset = await read_ruleset()
            if ruleset is None:
                return
            self._put(DROPS_FORWARDED, await self._let_pass(ruleset))
            self._put(DROPS_MESH, self._dropped(ruleset))

    def _wanted(self) -> dict[str, tuple[int | None, str]]:
        """Return what is to pass: IP version and condition, by comment."""
        name = f'"{self._interface}"'
        wanted: dict[str, tuple[int | None, str]] = {}
        if self._forwards:
            wanted[self._owner] = None, f"iifname {name} oifname {name}"
        for network in map(ip_network, self._announced):
            ip = "ip" if network.version == 4 else "ip6"
            there = f"iifname {name} {ip} daddr {network}"
            back = f"oifname {name} {ip} saddr {network}"
            wanted[f"{self._owner} to {network}"] = network.version, there
            wanted[f"{self._owner} from {network}"] = network.version, back
        return wanted

    async def _let_pass(self, ruleset: Ruleset) -> Complaint | None:
        """Accept what is forwarded in all chains that might drop it."""
        wanted, present = self._wanted(), set()
        dropping = ruleset.chains_that_drop_forwarded() if wanted else ()
        places = {each.place: each for each in map(ruleset.place_in, dropping)}
        for chain, rule in ruleset.rules_of(self._owner):
            is_good = chain.place in places and ruleset.is_first(chain, rule)
            if rule.comment in wanted and is_good:
                present.add((chain.place, rule.comment))
            else:
                await _remove(chain, rule)
        refusing: dict[str, str] = {}
        for chain in places.values():
            for comment, (version, condition) in wanted.items():
                if (chain.place, comment) not in present and chain.has(version):
                    text = f'{condition} counter accept comment "{comment}"'
                    await self._insert(chain, text, refusing)
        refusing |= await self._let_pass_legacy()
        return _not_passing(refusing, self._interface)

    async def _let_pass_legacy(self) -> dict[str, str]:
        """Do the same in the tables that are apart; return what refuses."""
        name = self._interface
        wanted: dict[str, tuple[int | None, tuple[str, ...]]] = {}
        if self._forwards:
            wanted[self._owner] = None, ("-i", name, "-o", name)
        for network in map(ip_network, self._announced):
            there = ("-i", name, "-d", str(network))
            back = ("-o", name, "-s", str(network))
            wanted[f"{self._owner} to {network}"] = network.version, there
            wanted[f"{self._owner} from {network}"] = network.version, back
        return await self._legacy.let_pass(wanted)

    async def _insert(self, chain: Chain, text: str, refusing: dict[str, str]) -> None:
        try:
            await nft(f"insert rule {chain.place} {text}")
        except ConfigError as error:
            refusing[chain.place] = str(error)
        else:
            self._has_rules = True
            logger.info(
                "The firewall's chain %s lets pass what this node forwards, as long as "
                "it runs: %s",
                chain.place,
                text,
            )

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


def owner_of(interface: str) -> str:
    """Return what the comments of a node's rules in chains of others begin with."""
    return f"{OWN_TABLES}{interface}"


async def read_ruleset() -> Ruleset | None:
    """Return the host's rules, ``None`` if they cannot be read."""
    try:
        return await asyncio.to_thread(Ruleset, await list_ruleset())
    except (ConfigError, ValueError) as error:
        logger.debug("The firewall's rules are not known: %s", error)
        return None


async def remove_rules(owners: Iterable[str]) -> list[str]:
    """Remove the rules of these owners; return the chains they were in."""
    owners = list(owners)
    for owner in owners:
        await LegacyFirewall(owner).close()
    ruleset = await read_ruleset()
    if ruleset is None:
        return []
    found = [each for owner in owners for each in ruleset.rules_of(owner)]
    for chain, rule in found:
        await _remove(chain, rule)
    return [chain.place for chain, _ in found]


async def remove_leftover_rules() -> list[str]:
    """Remove the rules of nodes whose interface is gone; return what was undone."""
    ruleset = await read_ruleset()
    if ruleset is None:
        return []
    alive = {owner_of(name) for _, name in socket.if_nameindex()}
    owners = ruleset.owners() | await legacy_owners(OWN_TABLES)
    removed = await remove_rules(sorted(owners - alive))
    return [f"a rule in the firewall's chain {place}" for place in removed]


async def _remove(chain: Chain, rule: FirewallRule) -> None:
    with contextlib.suppress(ConfigError):
        await nft(f"delete rule {chain.place} handle {rule.handle}")


def _not_passing(refusing: dict[str, str], interface: str) -> Complaint | None:
    if not refusing:
        return None
    chains = ", ".join(refusing)
    return Complaint(
        DROPS_FORWARDED,
        Severity.FAILURE,
        f"This machine's firewall drops what this node forwards, in {chains}, and does "
        f"not let it be changed ({next(iter(refusing.values()))}).",
        f"Let packets pass there that come from or go to {interface}; "
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
