"""Undoing what a node that was killed has left in the system.

A node that starts does this by itself; this is for machines on which none will.
"""

import asyncio
from pathlib import Path

from meshwg.errors import ConfigError
from meshwg.runtime.dns.recovery import recover_names
from meshwg.runtime.firewall import remove_leftover_rules
from meshwg.runtime.forwarding import Forwarding, remove_tables
from meshwg.runtime.interface import remove_leftovers
from meshwg.runtime.state import StateDirectory


async def clean_up(state_dir: Path) -> list[str]:
    """Undo everything that belongs to no running node; return what was undone.

    :raises NotPermitted: without the right to read it.
    """
    undone = await asyncio.to_thread(remove_leftovers)
    state = _open(state_dir)
    if state is not None:
        try:
            if await Forwarding("meshwg0", state).recover():
                undone.append("forwarding")
            undone += await recover_names(state)
        finally:
            state.close()
    undone += await remove_leftover_rules()
    return undone + await remove_tables()


def _open(path: Path) -> StateDirectory | None:
    """Return a state directory, ``None`` if there is none, or a node uses it."""
    if not path.exists():
        return None
    try:
        return StateDirectory(path)
    except ConfigError:
        return None
