"""The NAT matrix: every kind of network against every other, in one mesh.

There are two nodes of each kind, each behind a router of its own. A *cell* is one pair
of kinds: the first node of one pings the second node of the other, from nothing to the
best path there is. Several cells run at once, but a node is in one at a time, so that
none waits for another's punching. What comes out is held against :mod:`netlab.truth`.
"""

import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from netlab import presets, truth
from netlab.errors import LabError
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
PATIENCE = 100.0
"""Seconds for a direct path: three birthday attempts, one of which fails in 60."""
HOPELESS_PATIENCE = 30.0
"""Seconds in which a node has to know that there will be no direct path."""
HOPELESS_AT_LEAST = 6.0
"""Seconds for which a hopeless cell is watched."""
PINGS_AFTER = 5
"""Pings sent over the direct path, to see whether the upgrade lost any."""
HOPELESS = "no direct path can be opened"
"""What a node says of a peer that it will not reach directly."""

_METHODS = {"predicted": Method.PREDICTION, "birthday": Method.BIRTHDAY}


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of kinds; ``row`` pings ``column``."""

    row: Preset
    column: Preset

    def __str__(self) -> str:
        return f"{self.row.name} × {self.column.name}"

    @property
    def expected(self) -> Method:
        """The least that opens a path between them."""
        return truth.method(self.row, self.column)

    @property
    def nodes(self) -> tuple[str, str]:
        """The names of the two nodes."""
        return f"{self.row.name}-1", f"{self.column.name}-2"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one cell."""

    method: Method | None
    """``None``: not one packet came through."""
    detail: str
    """The method as both nodes call it."""
    first: float | None
    """Seconds from the first ping to the first answer."""
    direct: float | None
    """Seconds from the first ping to the first one over the direct path."""
    sent: int
    lost: int
    """Pings until the path was direct and a few later."""
    reason: str
    """Why this path, in the words of the node that pings."""
    attempts: tuple[str, ...] = ()
    """What that node tried and what came of it, the oldest first."""
    problem: str | None = None
    """What is not as it should be, in a sentence."""

    @property
    def as_expected(self) -> bool:
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Progress:
    """What happens to a cell: it began, or has its outcome."""

    cell: Cell
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong on purpose, to see that the matrix notices."""

    disguised: Mapping[str, Preset]
    """Kinds whose routers behave like another kind's."""
    relay: bool = True


HEALTHY = Faults({})


def cells(kinds: Sequence[Preset]) -> list[Cell]:
    """Return all pairs, the slowest first: many hands make an even end."""
    order = [Method.BIRTHDAY, Method.RELAY, Method.PREDICTION, Method.DIRECT]
    pairs = itertools.combinations_with_replacement(kinds, 2)
    found = [Cell(row, column) for row, column in pairs]
    return sorted(found, key=lambda cell: order.index(cell.expected))


def build(lab: Lab, kinds: Collection[Preset], faults: Faults = HEALTHY) -> Mesh:
    """Start the coordinator and two nodes of each kind; return when all have joined."""
    mesh = Mesh(lab, relay=faults.relay, port=PORT)
    hosts = []
    for kind, number in itertools.product(kinds, (1, 2)):
        name = f"{kind.name}-{number}"
        access = faults.disguised.get(kind.name, kind)
        hosts.append(lab.add_host(name, lab.add_access(f"{name}-nat", access)))
    mesh.join_all(hosts)
    return mesh


def run(
    mesh: Mesh, wanted: Sequence[Cell], listener: Callable[[Progress], None]
) -> dict[Cell, Outcome]:
    """Run the cells, several at once, and judge each.

    :param listener: told when a cell begins and ends, never twice at the same time.
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
            outcome = judge(cell, measure(cell, *nodes_of(cell, mesh)))
            outcomes[cell] = outcome
            tell(Progress(cell, outcome))

    with ThreadPoolExecutor(CELLS_AT_ONCE) as pool:
        workers = [pool.submit(work) for _ in range(CELLS_AT_ONCE)]
        try:
            for worker in workers:
                worker.result()
        except BaseException:
            queue.close()
            raise
    for cell in wanted:
        outcomes[cell] = still_hopeless(cell, outcomes[cell], mesh)
    return outcomes


def nodes_of(cell: Cell, mesh: Mesh) -> tuple[MeshNode, MeshNode]:
    """Return the node that pings, and the one that answers."""
    one, other = cell.nodes
    return mesh.nodes[one], mesh.nodes[other]


def measure(cell: Cell, one: MeshNode, other: MeshNode) -> Outcome:
    """Ping until the path is the best that is possible, or time is up."""
    hopeless = cell.expected is Method.RELAY
    patience = HOPELESS_PATIENCE if hopeless else PATIENCE
    started = time.monotonic()
    first = direct = None
    sent = lost = after = 0
    try:
        for answer in one.pings(other):
            elapsed = time.monotonic() - started
            sent += 1
            if answer["rtt_ms"] is None:
                lost += 1
            elif first is None:
                first = elapsed
            if answer["path"]["kind"] == "direct":
                direct = elapsed if direct is None else direct
                after += 1
            if after > PINGS_AFTER or elapsed > patience:
                break
            if hopeless and elapsed > HOPELESS_AT_LEAST and _both_gave_up(one, other):
                break
        seen = one.peer(other), other.peer(one)
    except LabError as error:
        return Outcome(None, "", first, direct, sent, lost, "", problem=str(error))
    return Outcome(
        _method(seen, first),
        "/".join(dict.fromkeys(str(peer["path"]["method"]) for peer in seen)),
        first,
        direct,
        sent,
        lost,
        seen[0]["reason"],
        tuple(_told(attempt) for attempt in seen[0]["attempts"]),
    )


def judge(cell: Cell, outcome: Outcome) -> Outcome:
    """Return the outcome with what is wrong with it."""
    problem = outcome.problem
    expected = cell.expected
    if problem is None and outcome.method is None:
        problem = f"Not one of {outcome.sent} pings was answered."
    elif problem is None and outcome.method is not expected:
        assert outcome.method is not None
        problem = f"The path is {outcome.method.value}, possible is {expected.value}."
    elif problem is None and outcome.lost:
        problem = f"{outcome.lost} of {outcome.sent} pings were lost."
    elif problem is None and expected is Method.RELAY:
        if HOPELESS not in outcome.reason:
            problem = "It is relayed and does not say that nothing better is possible."
    return replace(outcome, problem=problem)


def still_hopeless(cell: Cell, outcome: Outcome, mesh: Mesh) -> Outcome:
    """Return the outcome, corrected if a hopeless pair found a way meanwhile."""
    if outcome.method is not Method.RELAY:
        return outcome
    one, other = nodes_of(cell, mesh)
    for node, peer in ((one, other), (other, one)):
        kind = node.peer(peer)["path"]["kind"]
        if kind == "direct":
            problem = f"{node.name} found a direct path after all."
            return replace(outcome, problem=outcome.problem or problem)
    return outcome


def _told(attempt: dict[str, Any]) -> str:
    return f"{attempt['method']} {attempt['result']}: {attempt['detail']}"


def _both_gave_up(one: MeshNode, other: MeshNode) -> bool:
    return all(
        HOPELESS in node.peer(peer)["reason"]
        for node, peer in ((one, other), (other, one))
    )


def _method(seen: tuple[dict[str, Any], ...], first: float | None) -> Method | None:
    """Return the strongest method that either side says it took."""
    if first is None:
        return None
    if any(peer["path"]["kind"] != "direct" for peer in seen):
        return Method.RELAY
    order = list(Method)
    methods = [_METHODS.get(peer["path"]["method"], Method.DIRECT) for peer in seen]
    return max(methods, key=order.index)


class _Queue:
    """Hands out cells whose nodes are both free, to several threads."""

    def __init__(self, wanted: Sequence[Cell]) -> None:
        self._waiting = list(wanted)
        self._busy: set[str] = set()
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[Cell]:
        while (cell := self._take()) is not None:
            try:
                yield cell
            finally:
                self._give_back(cell)

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

    def _take(self) -> Cell | None:
        with self._changed:
            while self._waiting:
                for cell in self._waiting:
                    if not self._busy & {*cell.nodes}:
                        self._waiting.remove(cell)
                        self._busy |= {*cell.nodes}
                        return cell
                self._changed.wait()
            return None

    def _give_back(self, cell: Cell) -> None:
        with self._changed:
            self._busy -= {*cell.nodes}
            self._changed.notify_all()
