"""``meshwg node``: the process around one node.

It answers commands at the control socket, tells the service manager how it is doing,
and ends on a signal, on ``meshwg down``, or when the node cannot go on.
"""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Callable

from meshwg.config import NodeConfig, differences
from meshwg.errors import MeshError
from meshwg.runtime import clock, systemd
from meshwg.runtime.admin import AdminServer
from meshwg.runtime.commands import NodeCommands
from meshwg.runtime.guardfile import renew_guard
from meshwg.runtime.hangup import on_hangup
from meshwg.runtime.host import NodeHost
from meshwg.runtime.host_network import automatic_mtu
from meshwg.runtime.settled import keep_settled
from meshwg.runtime.standby import Standby
from meshwg.runtime.state import StateDirectory

LIVE = ("log_level", "join", "guard")
"""Settings that need no restart, or mean nothing to a node that runs."""

logger = logging.getLogger(__name__)


async def run(config: NodeConfig, reload: Callable[[], NodeConfig]) -> None:
    """Run a node until it is told to stop, in a :class:`PacketLoop`.

    :param reload: returns the settings as they are now.
    :raises MeshError: if it cannot start, or was refused by its mesh for good.
    """
    _raise_open_files()
    state = StateDirectory(config.state_dir)
    try:
        if state.is_down() and (config.join is None or systemd.is_manager()):
            standby = Standby(config, state)
            await standby.run()
            if not standby.goes_up:
                return
        mtu = config.mtu or automatic_mtu()
        await Daemon(config, state, mtu, reload).run()
    finally:
        state.close()


def _raise_open_files() -> None:
    """Take all the descriptors that the system grants: birthdays open many sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Daemon:
    """The process around one node."""

    def __init__(
        self,
        config: NodeConfig,
        state: StateDirectory,
        mtu: int,
        reload: Callable[[], NodeConfig],
    ) -> None:
        self._config = config
        self._guard = config.guard
        self._read_settings = reload
        self._host = NodeHost(config, state, mtu)
        self._state = state
        # Whoever starts a node by hand with a token wants it to be connected.
        state.set_down(False)
        self._admin = AdminServer(
            NodeCommands(self._host, self._take_down), config.control_socket
        )

    async def run(self) -> None:
        """Serve until the node has ended.

        :raises MeshError: why it ended, if not because it was told to.
        """
        host = self._host
        async with contextlib.AsyncExitStack() as undo:
            # The socket is the last to go: 'meshwg down' waits for that.
            undo.push_async_callback(self._admin.close)
            undo.push_async_callback(host.close)
            await self._admin.start()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, host.stop)
            on_hangup(self._reload, host.stop)
            await host.start()
            settling = asyncio.create_task(keep_settled(host.node), name="settled")
            undo.callback(settling.cancel)
            logger.info(
                "Node %s is %s: interface %s, UDP port %d",
                host.name,
                "up" if host.is_member else "joining its mesh",
                host.interface,
                host.port,
            )
            systemd.notify("READY=1", "STATUS=Running")
            await host.finished.wait()
            systemd.notify("STOPPING=1")
        if host.leaves:
            self._state.forget()
            logger.info("This node has left its mesh")
        if host.failure is not None:
            raise host.failure

    def _take_down(self) -> None:
        """End, and stay down when the node is started again."""
        self._host.exits.frees = True
        try:
            self._state.set_down(True)
        except MeshError as error:
            logger.warning("The node is up again at its next start: %s", error)
        self._host.stop()

    def _reload(self) -> None:
        """Take over what can be changed while the node runs, and say what cannot."""
        systemd.notify("RELOADING=1")
        try:
            new = self._read_settings()
        except MeshError as error:
            logger.error("The settings stay as they are: %s", error)
        else:
            self._take_over(new)
        renew_guard(self._host.node, self._guard, clock.now())
        self._host.turn()
        systemd.notify("READY=1")

    def _take_over(self, new: NodeConfig) -> None:
        logging.getLogger().setLevel(new.log_level.upper())
        self._guard = new.guard
        later = [each for each in differences(self._config, new) if each not in LIVE]
        logger.info("The settings were read again")
        if later:
            names = ", ".join(later)
            logger.warning("After a restart only, these take effect: %s", names)
