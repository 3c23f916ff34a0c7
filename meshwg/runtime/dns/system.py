"""Which of the things that may decide about a machine's name servers does so here."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from meshwg.errors import MeshError
from meshwg.runtime.dns import resolvconf
from meshwg.runtime.dns.file import RESOLV_CONF, ResolverFile
from meshwg.runtime.dns.integration import Integration
from meshwg.runtime.dns.scope import is_for_others
from meshwg.runtime.state import StateDirectory

RESOLVED_RUNS = Path("/run/systemd/resolve")
"""What systemd-resolved has made if it runs, or has run."""


class NotAlone(MeshError):
    """What would be told of this node's names decides for others, too."""


async def find_integration(
    state: StateDirectory, interface: str, on_return: Callable[[], None]
) -> Integration:
    """Return what decides here: systemd-resolved, resolvconf, or the plain file.

    :param on_return: called when it was started anew and has to be told again.
    :raises NotAlone: if it decides for others, too, who do not reach this node.
    :raises MeshError: if it does not run.
    """
    if await asyncio.to_thread(is_for_others, RESOLV_CONF):
        raise NotAlone(
            f"{RESOLV_CONF} is that of the whole machine, but this node is in a network"
            " namespace of its own: give it another one, as in /etc/netns/NAME"
        )
    if await asyncio.to_thread(RESOLVED_RUNS.exists):
        # D-Bus is a tenth of a node's memory, which others do not need.
        from meshwg.runtime.dns.resolved import Resolved, is_named

        resolved = await Resolved.find(on_return)
        if resolved is not None:
            return resolved
        if await asyncio.to_thread(is_named):
            raise MeshError(
                f"{RESOLV_CONF} names systemd-resolved, which does not run: start it"
            )
    flavour = await resolvconf.find()
    if flavour is not None:
        # Both have tunnels first, by their names.
        return resolvconf.Resolvconf(state, flavour, f"tun0.{interface}")
    return ResolverFile(state)
