"""The gateway that is asked for a mapping: by which protocols, and what it says.

Everything from the network is believed only if it comes from the gateway's address,
and counted as a :class:`~meshwg.nat.gateway.GatewayDrop` otherwise.
"""

from collections import Counter
from collections.abc import Container
from typing import NamedTuple

from meshwg.errors import InvalidMessage
from meshwg.nat import natpmp, pcp
from meshwg.nat.gateway import (
    SERVER_PORT,
    Answer,
    EpochClock,
    EpochRule,
    GatewayClient,
    GatewayDrop,
    MappedProtocol,
    MappingMethod,
    NotOurs,
)
from meshwg.nat.natpmp import NatPmpClient
from meshwg.nat.pcp import PcpClient
from meshwg.transmit import Endpoint, Random


class Said(NamedTuple):
    """An answer of the gateway."""

    client: GatewayClient
    """Whom it is for."""
    answer: Answer
    lost: bool
    """Whether its epoch time says that the gateway has lost its mappings."""


class AskedGateway:
    """One default gateway, as this host sees it.

    :param address: ``None`` without a gateway.
    :param local: this host's address towards it.
    :param drops: where what is not believed is counted.
    :ivar clients: the protocols that it is asked by, the best first.
    """

    def __init__(
        self, address: str | None, local: str, drops: Counter[GatewayDrop]
    ) -> None:
        self.address = address
        self.local = local
        self.clients: dict[MappingMethod, GatewayClient] = {}
        self._drops = drops
        self._epoch = EpochClock()

    @property
    def is_ipv4(self) -> bool:
        """Whether it is asked for a mapping over IPv4."""
        return ":" not in self.local

    def begin(
        self,
        internal_port: int,
        methods: Container[MappingMethod],
        random: Random,
        protocol: MappedProtocol = MappedProtocol.UDP,
    ) -> None:
        """Make the clients of these methods."""
        clients: list[GatewayClient] = []
        if MappingMethod.PCP in methods:
            clients.append(PcpClient(self.local, internal_port, random, protocol))
        if MappingMethod.NAT_PMP in methods and self.is_ipv4:
            clients.append(NatPmpClient(internal_port, protocol))
        self.clients = {client.method: client for client in clients}

    def receive(self, data: bytes, source: Endpoint, now: float) -> Said | None:
        """Return what a datagram says, ``None`` if it is not to be believed."""
        if not self._is_from_here(source):
            return None
        for client in self.clients.values():
            try:
                answer, epoch = client.receive(data)
            except InvalidMessage:
                continue
            if isinstance(answer, NotOurs):
                self._drops[GatewayDrop.NOT_OURS] += 1
                return None
            lost = epoch is not None and self._epoch.observe(
                client.epoch_is_lost, epoch, now
            )
            return Said(client, answer, lost)
        self._drops[GatewayDrop.MALFORMED] += 1
        return None

    def announces_loss(
        self, data: bytes, source: Endpoint, external: str | None, now: float
    ) -> bool:
        """Tell whether an announcement means that a mapping is gone.

        :param external: the address that the mapping has, ``None`` without one.
        """
        if not self._is_from_here(source) or external is None:
            return False
        try:
            epoch, is_lost, address = _read_announcement(data)
        except InvalidMessage:
            self._drops[GatewayDrop.MALFORMED] += 1
            return False
        moved = address is not None and address != external
        return moved or self._epoch.lost(is_lost, epoch, now)

    def _is_from_here(self, source: Endpoint) -> bool:
        if (source.host, source.port) == (self.address, SERVER_PORT):
            return True
        self._drops[GatewayDrop.WRONG_SOURCE] += 1
        return False


def _read_announcement(data: bytes) -> tuple[int, EpochRule, str | None]:
    """Return an announcement's epoch time, the rule for it, and the address it tells.

    :raises InvalidMessage: if it is none.
    """
    try:
        return pcp.parse_response(data).epoch, pcp.epoch_is_lost, None
    except InvalidMessage:
        response = natpmp.parse_response(data)
        return response.epoch, natpmp.epoch_is_lost, response.address
