"""A peer as the data path knows it."""

from meshwg.packet.ip import MAX_PACKET
from meshwg.transmit import Endpoint
from meshwg.wireguard.session import Session


class Lane:
    """Where the packets of one peer go, and under which session.

    :ivar session: with which packets are sealed, ``None`` while there is none.
    :ivar endpoint: where messages go, ``None`` while that is not known.
    :ivar second: where a copy of each message goes as well, while the endpoint is in
        doubt.
    :ivar longest: bytes of the longest packet that gets through: what is longer is not
        sent, but its sender told so.
    :ivar forwards: whether the peer may pass on what other peers sent, as the hub of a
        mesh does: those whose ``via`` is its lane, and no others.
    :ivar via: from which lane of a hub the packets of this peer are taken as well.
    """

    __slots__ = ("endpoint", "forwards", "longest", "second", "session", "via")

    def __init__(self) -> None:
        self.session: Session | None = None
        self.endpoint: Endpoint | None = None
        self.second: Endpoint | None = None
        self.longest = MAX_PACKET
        self.forwards = False
        self.via: Lane | None = None
