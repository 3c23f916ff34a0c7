"""The NAT matrix: every kind of network against every other, in one mesh.

There are two nodes of each kind, each behind a router of its own. A *cell* is one pair
of kinds: a node of one kind pings a node of the other until the path is the best that
is possible. Several cells run at once, but each node is in one cell at a time, so that
no cell waits for another one's punching. The outcome is compared with
:mod:`netlab.truth`.
"""

import itertools
import threading
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from netlab import presets, truth
from netlab.encounter import Outcome, meet
from netlab.lab import Lab
from netlab.mesh import Mesh, MeshNode
from netlab.presets import Preset
from netlab.truth import Method

FULL = (
    presets.PUBLIC,
    presets.FIREWALL,
    presets.FULL_CONE,
    presets.PORT_MAPPING,
    presets.ADDRESS_RESTRICTED,
    presets.PORT_RESTRICTED,
    presets.LINUX,
    presets.SLOPPY,
    presets.DOUBLE_CONE,
    presets.SYMMETRIC_OPEN,
    presets.SEQUENTIAL,
    presets.SYMMETRIC_ADDRESS_RESTRICTED,
    presets.ADDRESS_DEPENDENT,
    presets.OFFICE,
    presets.TWO_ADDRESSES,
    presets.DOUBLE_SYMMETRIC,
    presets.IPV6,
    presets.UDP_BLOCKED,
    presets.ALL_SYMMETRIC,
    presets.TCP_SYMMETRIC,
    presets.ONLY_443,
)
"""All kinds, roughly from the mildest to the strictest."""
QUICK = (
    presets.PUBLIC,
    presets.FULL_CONE,
    presets.PORT_RESTRICTED,
    presets.SEQUENTIAL,
    presets.SYMMETRIC_ADDRESS_RESTRICTED,
    presets.OFFICE,
    presets.UDP_BLOCKED,
)
"""One kind of each character."""
SIZES = {"quick": QUICK, "full": FULL}

PORT = 443
"""Of the coordinator, so that networks which let nothing else out reach it."""
CELLS_AT_ONCE = 6
BIRTHDAYS_AT_ONCE = 2
"""Of these; each sends thousands of packets in a second or two, and a node that gets
no processor meanwhile loses pings."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of kinds; ``row`` pings ``column``."""

    row: Preset
    column: Preset
    numbers: tuple[int, int] = (1, 2)
    """Which node of each kind takes part."""

    def __str__(self) -> str:
        return f"{self.row.name} and {self.column.name}"

    @property
    def expected(self) -> Method:
        """The weakest method that opens a path between them."""
        return truth.method(self.row, self.column)

    @property
    def is_birthday(self) -> bool:
        return self.expected is Method.BIRTHDAY

    @property
    def nodes(self) -> tuple[str, str]:
        """The names of the two nodes."""
        one, other = self.numbers
        return f"{self.row.name}-{one}", f"{self.column.name}-{other}"


@dataclass(frozen=True, slots=True)
class Progress:
    """News of a cell: it has begun, or it has an outcome."""

    cell: Cell
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults made on purpose, to see that the matrix finds them."""

    disguised: Mapping[str, Preset]
    """Kinds whose routers behave like another kind's."""
    relay: bool = True


HEALTHY = Faults({})


def cells(kinds: Sequence[Preset]) -> list[Cell]:
    """Return all pairs, the slowest first, so that all threads finish together.

    Each node of a kind gets half of its cells. Otherwise one node of the slowest kind
    would be in nearly all of them, one after the other, and delay the whole run.
    """
    order = [
        *(Method.BIRTHDAY, Method.RELAY, Method.PREDICTION),
        *(Method.TCP, Method.DIRECT),
    ]
    pairs = itertools.combinations_with_replacement(range(len(kinds)), 2)
    found = [
        Cell(kinds[row], kinds[column], (2, 1) if (row + column) % 2 else (1, 2))
        for row, column in pairs
    ]
    return sorted(found, key=lambda cell: order.index(cell.expected))


def build(
    lab: Lab,
    kinds: Collection[Preset],
    faults: Faults = HEALTHY,
    numbers: Iterable[int] = (1, 2),
) -> Mesh:
    """Start the coordinator and nodes of each kind; return when all have joined.

    :param numbers: of the nodes of each kind.
    """
    mesh = Mesh(lab, relay=faults.relay, port=PORT)
    hosts = []
    for kind, number in itertools.product(kinds, numbers):
        name = f"{kind.name}-{number}"
        access = faults.disguised.get(kind.name, kind)
        hosts.append(lab.add_host(name, lab.add_access(f"{name}-nat", access)))
    mesh.join_all(hosts)
    return mesh


def run(
    mesh: Mesh, wanted: Sequence[Cell], listener: Callable[[Progress], None]
) -> dict[Cell, Outcome]:
    """Run the cells, several at once, and judge each.

    :param listener: called when a cell begins and ends, by one thread at a time.
    """
    queue = _Queue(wanted)
    outcomes: dict[Cell, Outcome] = {}
    telling = threading.Lock()

    def tell(progress: Progress) -> None:
        with telling:
            listener(progress)

    def work() -> None:
        for cell in queue:
            tell(Progress(cell))
            luck = truth.is_luck(cell.row, cell.column)
            outcome = meet(*nodes_of(cell, mesh), cell.expected, luck=luck)
            if queue.is_closed:
                return
            outcomes[cell] = outcome
            tell(Progress(cell, outcome))

    with ThreadPoolExecutor(CELLS_AT_ONCE) as pool:
        workers = [pool.submit(work) for _ in range(CELLS_AT_ONCE)]
        try:
            for worker in workers:
                worker.result()
        except BaseException:
            queue.close()
            mesh.kill()
            raise
    for cell in wanted:
        outcomes[cell] = still_hopeless(cell, outcomes[cell], mesh)
    return outcomes


def nodes_of(cell: Cell, mesh: Mesh) -> tuple[MeshNode, MeshNode]:
    """Return the node that pings, and the one that answers."""
    one, other = cell.nodes
    return mesh.nodes[one], mesh.nodes[other]


def still_hopeless(cell: Cell, outcome: Outcome, mesh: Mesh) -> Outcome:
    """Return the outcome, corrected if a hopeless pair has found a path since."""
    if cell.expected is not Method.RELAY or outcome.method is not Method.RELAY:
        return outcome
    one, other = nodes_of(cell, mesh)
    for node, peer in ((one, other), (other, one)):
        kind = node.peer(peer)["path"]["kind"]
        if kind == "direct":
            problem = f"{node.name} found a direct path after all."
            return replace(outcome, problem=outcome.problem or problem)
    return outcome


class _Queue:
    """Hands out cells whose nodes are both free, to several threads."""

    def __init__(self, wanted: Sequence[Cell]) -> None:
        self._waiting = list(wanted)
        self._running: set[Cell] = set()
        self.is_closed = False
        """Whether the outcomes of cells that still run are ignored."""
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[Cell]:
        while (cell := self._take()) is not None:
            try:
                yield cell
            finally:
                self._give_back(cell)

    def close(self) -> None:
        """Hand out no more cells."""
        with self._changed:
            self.is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _take(self) -> Cell | None:
        with self._changed:
            while self._waiting:
                cell = next(filter(self._may_run, self._waiting), None)
                if cell is not None:
                    self._waiting.remove(cell)
                    self._running.add(cell)
                    return cell
                self._changed.wait()
            return None

    def _may_run(self, cell: Cell) -> bool:
        busy = {name for each in self._running for name in each.nodes}
        birthdays = sum(each.is_birthday for each in self._running)
        too_many = cell.is_birthday and birthdays >= BIRTHDAYS_AT_ONCE
        return not too_many and not busy & {*cell.nodes}

    def _give_back(self, cell: Cell) -> None:
        with self._changed:
            self._running.remove(cell)
            self._changed.notify_all()
