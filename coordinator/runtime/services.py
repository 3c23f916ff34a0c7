"""What runs in the coordinator's process beside the control server: STUN and TURN."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from coordinator.addresses import PublicAddresses
from coordinator.config import CoordinatorConfig, HostPort
from coordinator.mesh.registry import Registry
from coordinator.mesh.relayusers import RelayUsers
from coordinator.runtime.metrics import Metric
from coordinator.runtime.relay import Relay
from coordinator.runtime.tcp import TurnStream
from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from coordinator.turn import Limits, PeerRules, TurnServer
from meshwg.transmit import Endpoint

REALM = "meshwg"


class Service(Protocol):
    """Something with sockets of its own."""

    async def start(self) -> None:
        """Bind the sockets and begin to serve.

        :raises MeshError: if that is not possible.
        """

    async def close(self) -> None:
        """Close the sockets."""

    def metrics(self) -> Iterator[Metric]:
        """Yield what ``/metrics`` shows."""


@dataclass(frozen=True, slots=True)
class Services:
    """All services of one process."""

    services: tuple[Service, ...]
    stream: Callable[[HostPort | None], TurnStream] | None
    """Makes the protocol of a STUN-framed stream, on the TCP port or in a WebSocket."""
    on_members: Callable[[], None] = lambda: None
    """To be called when the members may have changed."""


def make_services(
    config: CoordinatorConfig,
    public: PublicAddresses,
    relay_secret: bytes,
    registry: Registry,
) -> Services:
    """Return STUN and, unless it is switched off, the relay on the same sockets.

    :raises ConfigError: if the addresses to serve do not fit together.
    """
    local = [Endpoint(host, port) for host, port in config.stun_addresses]
    udp = UdpService(StunServer(local, advertise=public.renamed))
    if not config.relay:
        return Services((udp,), None)
    loop = asyncio.get_running_loop()
    server = TurnServer(
        realm=REALM,
        secrets=[relay_secret],
        hosts=public.relayed_hosts,
        random=os.urandom,
        unix_time=lambda now: now - loop.time() + time.time(),
        rules=PeerRules(allowed=config.relay_allow),
        limits=Limits(bytes_per_second=config.relay_bytes_per_second),
        membership=RelayUsers(
            registry, relay_secret, anywhere=config.relay_peers == "any"
        ),
        is_local=is_local,
    )
    relay = Relay(server, udp.send)
    udp.on_relay = relay.receive
    return Services((udp, relay), relay.stream_protocol, relay.drop_strangers)


def is_local(host: str) -> bool:
    """Return whether an address is this machine's: a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
