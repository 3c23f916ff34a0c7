"""Gives the node's interface the addresses and routes that it is to have."""

import logging
import socket
from collections.abc import Iterable

from meshwg.errors import ConfigError
from meshwg.node import InterfaceChanged
from meshwg.runtime.interface import MeshInterface, Network
from meshwg.runtime.tasks import TaskSet
from meshwg.runtime.tun import TunDevice

logger = logging.getLogger(__name__)


class Addressing:
    """The configuration of one interface; what does not work out is logged."""

    def __init__(self, tun: TunDevice, interface: MeshInterface) -> None:
        self._tun = tun
        self._interface = interface
        self._hidden: set[str] = set()
        self._tasks = TaskSet()

    def change(
        self, wanted: InterfaceChanged, mesh: Iterable[str], network: Network
    ) -> None:
        """Begin to configure the interface.

        :param mesh: the networks of the mesh.
        :param network: that the machine is in.
        """
        self._warn_of_hidden(wanted.hidden)
        taken = network.overlapping(mesh)
        if taken is not None:
            logger.warning(
                "The mesh's network %s is also used by another interface: give the "
                "coordinator another one with --network4 or --network6",
                taken,
            )
        self._tasks.run(self._configure(wanted.addresses, wanted.routes))

    def close(self) -> None:
        """Stop configuring."""
        self._tasks.cancel()

    def _warn_of_hidden(self, networks: tuple[str, ...]) -> None:
        for network in sorted({*networks} - self._hidden):
            logger.warning(
                "The route to %s is not used: this machine is in that network itself",
                network,
            )
        self._hidden = {*networks}

    async def _configure(
        self, addresses: tuple[str, ...], routes: tuple[str, ...]
    ) -> None:
        self._tun.local_addresses = {_packed(address) for address in addresses}
        try:
            await self._interface.configure(addresses, routes)
        except ConfigError as error:
            logger.error("%s", error)


def _packed(address: str) -> bytes:
    """Return an address with prefix length in network order, without the latter."""
    host = address.partition("/")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host)
