"""The relay: a TURN server (RFC 8656) as a pure machine."""

from coordinator.turn.counters import Counters, TurnDrop
from coordinator.turn.limits import Limits
from coordinator.turn.rules import PeerRules
from coordinator.turn.server import CloseSocket, OpenSocket, TurnServer

__all__ = [
    "CloseSocket",
    "Counters",
    "Limits",
    "OpenSocket",
    "PeerRules",
    "TurnDrop",
    "TurnServer",
]
