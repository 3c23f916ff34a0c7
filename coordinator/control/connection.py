"""One node's control connection, as the coordinator keeps it."""

from enum import Enum, auto

from coordinator.control.approvals import NOTHING
from coordinator.mesh.netmap import NetMapHistory
from meshwg.limits import TokenBucket
from meshwg.wire.channel import Channel

MESSAGE_RATE, MESSAGE_BURST = 20.0, 400.0
"""Messages a second of one node, and at once; heartbeats and the pings and pongs of its
WebSocket are messages, too."""
REPORT_RATE, REPORT_BURST = 0.5, 10.0
"""Reports of one node a second, and at once, that all others are told of."""
FLOWS_RATE, FLOWS_BURST = 1 / 30, 4.0
"""Messages of one node about flows a second, and at once."""
LEASE_RATE, LEASE_BURST = 10.0, 40.0
"""Uses of leases by one node a second, and at once; each is a transaction."""
OFFER_RATE, OFFER_BURST = 10.0, 200.0
"""Offers a second of one node, and at once: it may begin with many peers together."""
REGISTER_RATE, REGISTER_BURST = 0.5, 30.0
"""Registrations of one node a second, and at once; all others are told of each."""
MAX_REFUSED = 200
"""Messages refused in a row after which a connection is closed."""


class State(Enum):
    """How far a connection has come."""

    HANDSHAKE = auto()
    """Waiting for the Noise initiation."""
    REGISTER = auto()
    """Waiting for the ``register`` message."""
    JOINING = auto()
    """Waiting for the database."""
    MEMBER = auto()
    SIBLING = auto()
    """Opened by another coordinator on the database, with the same key."""
    CLOSED = auto()
    """Nothing is sent or read any more; the carrier is being closed."""


class Connection:
    """A connection and the limits that apply to it."""

    __slots__ = (
        "address",
        "approvals",
        "channel",
        "coordinator_key",
        "history",
        "id",
        "itself",
        "key",
        "messages",
        "offers",
        "records",
        "refused",
        "registered",
        "revision",
        "session",
        "state",
        "takes_slices",
        "through",
        "version",
        "view",
        "writable",
    )

    def __init__(self, number: int, address: str, session: str, now: float) -> None:
        self.id = number
        self.address = address
        self.session = session
        self.state = State.HANDSHAKE
        self.key = ""
        """The node's public key, which it has proved once it registers."""
        self.channel: Channel | None = None
        self.coordinator_key = b""
        """By which the node knows this coordinator."""
        self.registered = False
        """It is, or has been, a member's connection."""
        self.version = 0
        """The netmap version that the node has been sent."""
        self.takes_slices = False
        """The node knows of slices."""
        self.through = 0
        """To which version the slices were to lead that its last connection carried, if
        they did not get there."""
        self.view = ""
        """What the node may see, and who may reach what, as it was told."""
        self.history: NetMapHistory | None = None
        """Of which :attr:`version` is, once it is known to be one of that."""
        self.itself = -1
        """The version of its own entry that it was told apart from the netmap."""
        self.approvals = NOTHING
        """What the node was told of its offers."""
        self.revision = -1
        """Of the node, as of which it was told of them."""
        self.records = 0
        """The version of the zone's records that the node has been sent."""
        self.writable = True
        """The carrier takes more; if not, the node is told later what it has missed."""
        self.messages = TokenBucket(MESSAGE_RATE, MESSAGE_BURST, now)
        self.offers = TokenBucket(OFFER_RATE, OFFER_BURST, now)
        self.refused = 0
        """Messages refused since the last one that was accepted."""
