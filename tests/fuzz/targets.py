"""All targets by name."""

from tests.fuzz.coordinators import CoordinatorTarget
from tests.fuzz.live import ControlSocket, CoordinatorPorts
from tests.fuzz.names import NameServerTarget
from tests.fuzz.nodes import ControlledNodeTarget, NodeTarget
from tests.fuzz.relays import RelayTarget
from tests.fuzz.target import Target

KINDS: tuple[type[Target], ...] = (
    NodeTarget,
    ControlledNodeTarget,
    CoordinatorTarget,
    RelayTarget,
    NameServerTarget,
    CoordinatorPorts,
    ControlSocket,
)
TARGETS: dict[str, type[Target]] = {kind.name: kind for kind in KINDS}
