"""Undoing what a node that was killed has told the system of its names."""

import asyncio
import logging
from pathlib import Path

from meshwg.errors import MeshError
from meshwg.runtime.dns import file, resolvconf
from meshwg.runtime.state import StateDirectory

logger = logging.getLogger(__name__)


async def recover_names(
    state: StateDirectory, path: Path = file.RESOLV_CONF
) -> list[str]:
    """Put back what is not of a node that runs; return what was, in words."""
    try:
        if await resolvconf.recover(state):
            return ["the name server that resolvconf was told of"]
        if await asyncio.to_thread(file.recover, state, path):
            return [f"the name server in {path}"]
    except (MeshError, OSError) as error:
        logger.warning("What a node has told the system of names stays: %s", error)
    return []
