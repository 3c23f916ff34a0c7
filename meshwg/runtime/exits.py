"""Using an exit: what is remembered of it, and what the system is told.

The kill switch is the first thing that is there, and the last that goes. It stays when
the node ends, unless its user takes it down or leaves the mesh: a node that crashes, or
is started anew by an upgrade, lets nothing out in the clear meanwhile. After a start of
the machine it may be there before the network is (:func:`hold`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from meshwg import routing
from meshwg.errors import ConfigError, MeshError
from meshwg.health import Complaint, Severity
from meshwg.node import Node
from meshwg.node.exits import KILL_SWITCH_OFF, ChosenExit
from meshwg.routing import interface_of
from meshwg.runtime import clock, rtnetlink
from meshwg.runtime.interface import MeshInterface
from meshwg.runtime.killswitch import KillSwitch
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.tasks import TaskSet

logger = logging.getLogger(__name__)


class ExitClient:
    """What one node does to use an exit.

    :param settle: has the interface's routes as they are to be, and waits for that.
    """

    def __init__(
        self,
        node: Node,
        interface: MeshInterface,
        state: StateDirectory,
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self.frees = False
        """Whether everything may leave again when the node ends."""
        self._node = node
        self._interface = interface
        self._state = state
        self._settle = settle
        self._switch = KillSwitch(interface.name, self._tell)
        self._tasks = TaskSet()

    async def start(self) -> None:
        """Use the exit that was used before, if there was one."""
        chosen = recall(self._state)
        if chosen is None:
            return
        logger.info("The internet is reached through the exit %s", chosen.name)
        self._node.use_exit(chosen, clock.now())
        await self._close_all_else()

    async def use(self, name: str, *, lan: bool) -> dict[str, Any]:
        """Reach the internet through a peer only; return what is used then.

        :param lan: whether the machine's own private networks are reached, too.
        :raises MeshError: if there is no such exit, or the system refuses what that
            needs; then all is as before.
        """
        peer = self._node.exits.find(name)
        if not self._interface.is_apart:
            raise ConfigError(
                "This system has no rules for routing, or does not permit them "
                f"({self._interface.refusal}): an exit needs them"
            )
        before = self._node.exits.chosen
        chosen = ChosenExit(peer.key, peer.entry.name, lan)
        self._state.save_exit(chosen.to_json())
        try:
            await self._switch_on(lan=lan)
        except MeshError:
            self._state.save_exit(None if before is None else before.to_json())
            raise
        self._node.health.clear(KILL_SWITCH_OFF)
        await self._change(chosen)
        logger.info("From now on the internet is reached through %s", chosen.name)
        return self._node.exits.status(clock.now()) or {}

    async def off(self) -> dict[str, Any]:
        """Reach the internet as without a mesh; return what was used until now."""
        chosen = self._node.exits.chosen
        # If this is cut off, all stays closed.
        await self._change(None)
        await self._switch.switch_off()
        self._node.health.clear(KILL_SWITCH_OFF)
        self._state.save_exit(None)
        if chosen is not None:
            logger.info("The internet is reached without %s again", chosen.name)
        return {"was": None if chosen is None else chosen.name}

    def look(self) -> None:
        """See whether other meshes came, whose interfaces are let pass, too."""
        if self._node.exits.chosen is not None:
            self._tasks.run(self._close_all_else())

    async def close(self) -> None:
        """Stop watching, and let everything leave again if that is wanted."""
        self._tasks.cancel()
        chosen = self._node.exits.chosen
        if chosen is None:
            return
        if self.frees:
            await self._switch.switch_off()
            return
        self._switch.close()
        logger.warning(
            "Nothing leaves this machine until the node runs again, since it uses the "
            "exit %s: 'meshwg cleanup' lets it out",
            chosen.name,
        )

    async def _change(self, chosen: ChosenExit | None) -> None:
        self._node.use_exit(chosen, clock.now())
        await self._settle()

    async def _close_all_else(self) -> None:
        """Have the kill switch on for the exit in use, and say so if it cannot be."""
        chosen = self._node.exits.chosen
        if chosen is None:
            return
        refusal = None
        try:
            await self._switch_on(lan=chosen.lan)
        except MeshError as error:
            refusal = error
        self._tell(refusal)

    def _tell(self, refusal: MeshError | None) -> None:
        """Tell the user if the system says something against the kill switch."""
        complaint = None if refusal is None else _not_on(refusal)
        if complaint is not None and complaint not in self._node.health:
            logger.error("%s", complaint.text)
        self._node.health.put(KILL_SWITCH_OFF, complaint)

    async def _switch_on(self, *, lan: bool) -> None:
        others = await asyncio.to_thread(_other_meshes, self._interface.table)
        await self._switch.switch_on(self._interface.bit, lan=lan, others=others)


def recall(state: StateDirectory) -> ChosenExit | None:
    """Return the exit that was chosen, ``None`` if none was."""
    note = state.exit()
    if note is None:
        return None
    return ChosenExit(
        str(note.get("public_key")), str(note.get("name")), bool(note.get("lan"))
    )


async def let_out(interface: str, state: StateDirectory) -> dict[str, Any]:
    """Do without the exit that was chosen, while no node runs."""
    chosen = recall(state)
    await KillSwitch(interface).switch_off()
    state.save_exit(None)
    return {"was": None if chosen is None else chosen.name}


async def hold(interface: str, state: StateDirectory) -> ChosenExit | None:
    """Let nothing leave beside the exit that was chosen, before a node runs.

    :returns: the exit, ``None`` if none was, or the node is to be down.
    :raises ConfigError: if nftables is missing, or refuses it.
    """
    chosen = recall(state)
    if chosen is None or state.is_down():
        return None
    switch = KillSwitch(interface)
    # The node itself, whose mark this will most likely be, replaces it at its start.
    await switch.switch_on(routing.choose_bit(interface, (), 0), lan=chosen.lan)
    switch.close()
    return chosen


def _other_meshes(own: int) -> list[str]:
    """Return the interfaces of other meshes of this machine.

    :param own: the table of this one.
    """
    now = rtnetlink.take_snapshot()
    rules = [rule for each in now.rules.values() for rule in each if rule.is_ours]
    numbers = {interface_of(each.table) for each in rules if each.table != own}
    return sorted(link.name for link in now.links if link.number in numbers)


def _not_on(error: MeshError) -> Complaint:
    return Complaint(
        KILL_SWITCH_OFF,
        Severity.FAILURE,
        "The exit is used without a kill switch, so packets may leave beside it: "
        f"{error}.",
        "Mend that, and run 'meshwg exit use' again.",
    )
