"""The whole node as one pure machine; see :mod:`meshwg.node.machine`."""

from meshwg.control.events import LeaseAnswered
from meshwg.node.events import (
    CoordinatorKeyChanged,
    CoordinatorsMoved,
    EchoReceived,
    ExitChanged,
    ExitInterface,
    Expelled,
    InterfaceChanged,
    Joined,
    NetmapChanged,
    NodeEvent,
    PathChanged,
    PeerHeld,
    RouteTaken,
    ServersChanged,
    SocketsClosed,
    SocketsWanted,
    TrustChanged,
)
from meshwg.node.lookout import DialWanted, StreamsClosed
from meshwg.node.machine import Node

__all__ = [
    "CoordinatorKeyChanged",
    "CoordinatorsMoved",
    "DialWanted",
    "EchoReceived",
    "ExitChanged",
    "ExitInterface",
    "Expelled",
    "InterfaceChanged",
    "Joined",
    "LeaseAnswered",
    "NetmapChanged",
    "Node",
    "NodeEvent",
    "PathChanged",
    "PeerHeld",
    "RouteTaken",
    "ServersChanged",
    "SocketsClosed",
    "SocketsWanted",
    "StreamsClosed",
    "TrustChanged",
]
