"""What an administrator, or the process around it, decides for the control server."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a :class:`~coordinator.control.server.ControlServer`."""

    home: str = ""
    """The name of this process among those on one database."""
    stun: tuple[str, ...] = ()
    """STUN servers to tell nodes, ``host:port``."""
    relays: tuple[str, ...] = ()
    """TURN servers to tell nodes, ``turn:`` URLs."""
    relay_secret: bytes = field(default=b"", repr=False)
    """What the credentials of relays are made with."""
    relay_secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The same by URL, of those that have a secret of their own."""
    knows_cluster: bool = False
    """Whether nodes of a Kubernetes cluster may join by what that says of them."""
    heartbeat: float = 3.0
    """Seconds after which nodes send a heartbeat."""
    silence: float = 8.0
    """Seconds of silence after which a node is dead."""
    own_heartbeat: float = 10.0
    """Seconds after which this side sends a heartbeat."""
    register_timeout: float = 15.0
    """Seconds a connection has to become a member's."""
    connections_per_address: int = 1024
    new_connections_per_address: int = 64
    new_connections_per_network: int = 512
    """Of one IPv6 /48."""
    max_new_connections: int = 2048
    """When there are as many, the longest silent one of the network with most of them
    makes room for another."""
    max_connections: int = 20_000
