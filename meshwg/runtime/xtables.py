"""Lets pass what a node forwards in the tables of iptables-legacy.

Nothing tells of changes there, so who uses this looks from time to time. Where the
tables are not in use, which a file of the kernel's says, nothing is run.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from meshwg.errors import ConfigError
from meshwg.xtables import FORWARD, LegacyRule, LegacyRules

_PROGRAMS = {4: "iptables-legacy", 6: "ip6tables-legacy"}
_TABLES = {
    4: Path("/proc/thread-self/net/ip_tables_names"),
    6: Path("/proc/thread-self/net/ip6_tables_names"),
}

logger = logging.getLogger(__name__)


class LegacyFirewall:
    """The legacy tables of both IP versions, as far as they are in use.

    :param owner: what the comments of the node's rules begin with.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    async def let_pass(
        self, wanted: Mapping[str, tuple[int | None, tuple[str, ...]]]
    ) -> dict[str, str]:
        """Accept what is forwarded where it might be dropped.

        :param wanted: IP version and conditions, by comment.
        :returns: why a table could not be changed, by its name.
        """
        refusing: dict[str, str] = {}
        for version, program in _PROGRAMS.items():
            if not _is_used(version):
                continue
            those = {
                comment: conditions
                for comment, (only, conditions) in wanted.items()
                if only in (None, version)
            }
            try:
                await self._settle(program, those)
            except ConfigError as error:
                refusing[f"the table filter of {program}"] = str(error)
        return refusing

    async def close(self) -> None:
        """Remove all rules."""
        await self.let_pass({})

    async def _settle(
        self, program: str, wanted: Mapping[str, tuple[str, ...]]
    ) -> None:
        rules = LegacyRules.parse(await _run(program, "-S"))
        kept = set()
        for rule in rules.rules_of(self._owner):
            comment = _comment(rule)
            if comment in wanted and rules.is_first(rule):
                kept.add(comment)
            else:
                await _run(program, "-D", rule.chain, *rule.words)
        if not rules.drops_forwarded():
            return
        for comment, conditions in wanted.items():
            if comment not in kept:
                said = ("-m", "comment", "--comment", comment, "-j", "ACCEPT")
                await _run(program, "-I", FORWARD, "1", *conditions, *said)
                logger.info(
                    "The firewall's chain FORWARD of %s lets pass what this node "
                    "forwards, as long as it runs: %s",
                    program,
                    " ".join(conditions),
                )


async def legacy_owners(prefix: str) -> set[str]:
    """Return the owners of rules whose names begin so."""
    found: set[str] = set()
    for version, program in _PROGRAMS.items():
        if _is_used(version):
            try:
                rules = LegacyRules.parse(await _run(program, "-S"))
            except ConfigError as error:
                logger.debug("%s", error)
                continue
            found |= {r.owner for r in rules.rules if r.owner.startswith(prefix)}
    return found


def _comment(rule: LegacyRule) -> str:
    pairs = zip(rule.words, rule.words[1:], strict=False)
    return next((value for option, value in pairs if option == "--comment"), "")


def _is_used(version: int) -> bool:
    try:
        return "filter" in _TABLES[version].read_text().split()
    except OSError:
        return False


async def _run(program: str, *arguments: str) -> str:
    """Return what a program prints.

    :raises ConfigError: if it is missing, or refuses.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "-w",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ConfigError(
            f"its rules cannot be read without the program {program}: install it"
        ) from None
    printed, errors = await process.communicate()
    if process.returncode != 0:
        first = (errors.decode(errors="replace").splitlines() or ["unknown error"])[0]
        raise ConfigError(f"{program} says: {first}")
    return printed.decode(errors="replace")
