"""What a node asks of its runtime, or tells it."""

from dataclasses import dataclass

from meshwg.control.events import LeaseAnswered
from meshwg.node.lookout import DialWanted, StreamsClosed
from meshwg.path import events as path_events
from meshwg.peer import MeshPeer
from meshwg.relay.pool import CloseStream, CredentialsUsed, OpenStream
from meshwg.wire import control


@dataclass(frozen=True, slots=True)
class ExitInterface:
    """What the interface is to do with packets to the internet."""

    is_there: bool
    """Whether they go into the mesh; else they go nowhere."""
    lan: bool
    """Whether the machine's own private networks are reached beside the exit."""


@dataclass(frozen=True, slots=True)
class ExitChanged:
    """For the user: the exit in use went away, or is there again."""

    name: str
    reason: str
    """Why it is away, empty if it is there."""


@dataclass(frozen=True, slots=True)
class InterfaceChanged:
    """The interface is to have these addresses, and routes to these networks."""

    addresses: tuple[str, ...]
    """With the prefix length of the whole mesh."""
    routes: tuple[str, ...]
    hidden: tuple[str, ...]
    """Networks behind peers that get no route: the machine is in them itself."""
    networks: tuple[str, ...] = ()
    """The mesh's own networks."""
    collisions: tuple[str, ...] = ()
    """Those of them that overlap networks which the machine is in itself."""
    hosts: tuple[str, ...] = ()
    """The addresses of peers in them, as networks: they need routes of their own."""
    announced: tuple[str, ...] = ()
    """Networks behind this node, which peers accept packets from."""
    unreachable: tuple[str, ...] = ()
    """Addresses of peers that these cannot have, so that packets there are refused."""
    is_exit: bool = False
    """Whether members reach the internet through this node."""
    exit: ExitInterface | None = None
    """How packets to the internet go, ``None`` while no exit is used."""
    is_hub: bool = False
    """Whether members reach each other through this node."""


@dataclass(frozen=True, slots=True)
class ServersChanged:
    """Resolve the names of these servers, then call :meth:`Node.set_servers`."""

    stun: tuple[str, ...]
    relays: tuple[control.Relay, ...]


@dataclass(frozen=True, slots=True)
class SocketsWanted:
    """Open auxiliary sockets, then call :meth:`Node.sockets_opened`."""

    request: int
    family: int
    count: int


@dataclass(frozen=True, slots=True)
class SocketsClosed:
    """Close these auxiliary sockets."""

    links: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PeerHeld:
    """For the user: a peer is not who it was, and so not trusted."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RouteTaken:
    """For the user: packets to a network go to a peer from now on."""

    name: str
    network: str
    why: str = ""
    """Why they go there now, if they went elsewhere before."""


@dataclass(frozen=True, slots=True)
class CoordinatorKeyChanged:
    """The coordinator is known by another key: remember it."""

    key: bytes
    former: bytes | None
    """Also good until the other has been proved; ``None`` if that is so."""


@dataclass(frozen=True, slots=True)
class CoordinatorsMoved:
    """The coordinators of the mesh are at other URLs: remember them."""

    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustChanged:
    """The pinned keys are worth saving again."""


@dataclass(frozen=True, slots=True)
class NetmapChanged:
    """The netmap is worth saving again."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The coordinator has accepted the node; the auth key is not needed any more."""

    notice: str
    """What the user should know, or nothing."""


@dataclass(frozen=True, slots=True)
class Expelled:
    """The node is no longer a member, or was refused for good."""

    reason: str
    forget: bool
    """Whether what is known about the mesh is void."""
    code: str = ""
    """The :class:`~meshwg.wire.control.ErrorCode` of a refusal."""


@dataclass(frozen=True, slots=True)
class PathChanged:
    """For the user: the path to a peer has changed."""

    peer: MeshPeer
    event: path_events.SelectionChanged


@dataclass(frozen=True, slots=True)
class EchoReceived:
    """An echo reply came back through the tunnel."""

    identifier: int
    sequence: int


NodeEvent = (
    InterfaceChanged
    | ServersChanged
    | SocketsWanted
    | SocketsClosed
    | DialWanted
    | StreamsClosed
    | NetmapChanged
    | PeerHeld
    | RouteTaken
    | ExitChanged
    | TrustChanged
    | CoordinatorKeyChanged
    | CoordinatorsMoved
    | Joined
    | Expelled
    | PathChanged
    | EchoReceived
    | LeaseAnswered
    | CredentialsUsed
    | OpenStream
    | CloseStream
)
