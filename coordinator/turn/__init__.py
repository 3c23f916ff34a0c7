"""The relay: a TURN server as a pure machine, and the credentials it checks."""

from coordinator.turn.counters import Counters, Drop
from coordinator.turn.credentials import mint
from coordinator.turn.limits import Limits
from coordinator.turn.rules import PeerRules
from coordinator.turn.server import CloseSocket, OpenSocket, TurnServer

__all__ = [
    "CloseSocket",
    "Counters",
    "Drop",
    "Limits",
    "OpenSocket",
    "PeerRules",
    "TurnServer",
    "mint",
]
