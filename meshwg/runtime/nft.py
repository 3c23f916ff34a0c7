"""The program nft, which reads and sets the rules of the host's firewall."""

import asyncio

from meshwg.errors import ConfigError


async def nft(rules: str) -> str:
    """Have nft carry commands out; return what it prints.

    :raises ConfigError: if it is missing, or refuses them.
    """
    return await _run(("-f", "-"), rules)


async def check(rules: str) -> None:
    """See whether nft would carry commands out, without doing it.

    :raises ConfigError: if it is missing, or would refuse them.
    """
    await _run(("--check", "-f", "-"), rules)


async def list_ruleset() -> str:
    """Return all rules of the host, as JSON.

    :raises ConfigError: if nft is missing, or is not permitted to read them.
    """
    return await _run(("--json", "list", "ruleset"), "")


async def _run(arguments: tuple[str, ...], text: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ConfigError(
            "A hub needs the program nft: install the package nftables"
        ) from None
    printed, errors = await process.communicate(text.encode())
    if process.returncode != 0:
        first = (errors.decode(errors="replace").splitlines() or ["unknown error"])[0]
        raise ConfigError(f"nftables refuses the hub's rules ({first})")
    return printed.decode(errors="replace")
