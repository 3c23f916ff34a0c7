"""Who a node is towards its coordinator."""

from dataclasses import dataclass, field

from meshwg.keys import PrivateKey
from meshwg.wire.routes import RouteTraits


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, and which mesh it belongs to."""

    private_key: PrivateKey
    coordinator_key: bytes
    name: str
    auth_key: str | None = field(default=None, repr=False)
    """Of the join token; not needed once the coordinator knows this node."""
    role: str = "node"
    routes: tuple[str, ...] = ()
    traits: tuple[RouteTraits, ...] = ()
    """Of those of its routes that are not as all others."""
    exit: bool = False
    """It offers itself as an exit."""
    software: str = ""
    urls: tuple[str, ...] = ()
    """Where its coordinators may be, the one to be asked first in front."""
    service_token: str | None = field(default=None, repr=False)
    """What a cluster says of this node, see :mod:`meshwg.kubernetes`; shown at each
    connection, as it is then."""
    former_key: bytes | None = None
    """The coordinator's key before, until it has proved that it has the other."""
