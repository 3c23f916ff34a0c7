"""Two nodes meet for the first time: which path do they find, and how soon?"""

import time
from dataclasses import dataclass, field, replace
from typing import Any

from netlab.errors import LabError
from netlab.mesh import MeshNode
from netlab.truth import Method

PATIENCE = 100.0
"""Seconds for a direct path: three birthday attempts, one of which fails in 60."""
HOPELESS_PATIENCE = 30.0
"""Seconds within which a node has to know that there will be no direct path."""
HOPELESS_AT_LEAST = 6.0
"""Seconds for which a hopeless pair is watched."""
PINGS_AFTER = 5
"""Pings sent over the direct path, to see whether any was lost in the change."""
HOPELESS = "no direct path can be opened"
"""Part of what a node says of a peer that it cannot reach directly."""

_METHODS = {
    "predicted": Method.PREDICTION,
    "birthday": Method.BIRTHDAY,
    "tcp": Method.TCP,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one cell."""

    method: Method | None
    """``None`` if no packet arrived."""
    detail: str
    """The method as both nodes call it."""
    first: float | None
    """Seconds from the first ping to the first answer."""
    direct: float | None
    """Seconds from the first ping to the first one over the direct path."""
    sent: int
    lost: int
    """Pings sent, and those lost, until the path was direct and shortly after."""
    reason: str
    """Why the path is this one, in the words of the node that pings."""
    attempts: tuple[str, ...] = ()
    """What that node tried, with the results, oldest first."""
    losses: tuple[str, ...] = ()
    """When pings were lost, and on which path."""
    problem: str | None = None
    """What is wrong, in a sentence."""

    @property
    def as_expected(self) -> bool:
        return self.problem is None


def meet(
    one: MeshNode, other: MeshNode, expected: Method, *, luck: bool = False
) -> Outcome:
    """Let one node ping the other until its path is final, and judge the outcome.

    :param luck: whether the pair may stay relayed, or on a stream.
    """
    outcome = _measure(one, other, expected, luck=luck)
    problem = outcome.problem or judge(outcome, expected, luck=luck)
    return replace(outcome, problem=problem)


def _measure(
    one: MeshNode, other: MeshNode, expected: Method, *, luck: bool
) -> Outcome:
    """Ping until the path is direct or known to stay relayed, or until time is up."""
    hopeless = expected is Method.RELAY
    patience = HOPELESS_PATIENCE if hopeless else PATIENCE
    started = time.monotonic()
    # Where datagrams should get through, a stream is what carries them meanwhile.
    by_datagrams = expected in (Method.DIRECT, Method.PREDICTION)
    seen = Pings(streams_will_do=luck or not by_datagrams)
    try:
        for answer in one.pings(other):
            elapsed = time.monotonic() - started
            seen.take(answer, elapsed)
            if seen.after > PINGS_AFTER or elapsed > patience:
                break
            if hopeless and elapsed > HOPELESS_AT_LEAST and _both_gave_up(one, other):
                break
        return seen.outcome(one.peer(other), other.peer(one))
    except LabError as error:
        return replace(seen.outcome(), problem=str(error))


@dataclass(slots=True)
class Pings:
    """The pings of one cell so far."""

    streams_will_do: bool = True
    """Whether a path over TCP is one to stay with."""
    first: float | None = None
    direct: float | None = None
    sent: int = 0
    after: int = 0
    """Pings over the direct path."""
    losses: list[str] = field(default_factory=list)
    before: str = "none"
    """The path of the last ping."""

    def take(self, answer: dict[str, Any], elapsed: float) -> None:
        """Count a ping that was answered, or was not, after so many seconds."""
        self.sent += 1
        path = _path(answer)
        if answer["rtt_ms"] is None:
            self.losses.append(f"{elapsed:.1f} s: {self.before}, later {path}")
        elif self.first is None:
            self.first = elapsed
        self.before = path
        is_stream = answer["path"]["method"] == "tcp"
        if answer["path"]["kind"] == "direct" and (
            self.streams_will_do or not is_stream
        ):
            self.direct = elapsed if self.direct is None else self.direct
            self.after += 1

    def outcome(self, *seen: dict[str, Any]) -> Outcome:
        """Return what came of them.

        :param seen: what each node says of the other, first the one that pings;
            nothing, if they cannot be asked.
        """
        return Outcome(
            _method(seen, self.first) if seen else None,
            "/".join(dict.fromkeys(str(peer["path"]["method"]) for peer in seen)),
            self.first,
            self.direct,
            self.sent,
            len(self.losses),
            seen[0]["reason"] if seen else "",
            tuple(_told(attempt) for attempt in seen[0]["attempts"]) if seen else (),
            tuple(self.losses) if seen else (),
        )


def judge(outcome: Outcome, expected: Method, *, luck: bool = False) -> str | None:
    """Return what is wrong with an outcome, if anything is."""
    if outcome.method is None:
        return f"Not one of {outcome.sent} pings was answered."
    by_luck = luck and outcome.method in (Method.TCP, Method.RELAY)
    if expected is Method.BIRTHDAY:
        by_luck |= _is_luck_of_birthdays(outcome)
    if outcome.method is not expected and not by_luck:
        return f"The path is {outcome.method.value}, and {expected.value} was expected."
    if outcome.lost:
        return f"{outcome.lost} of {outcome.sent} pings were lost."
    if expected is Method.RELAY and HOPELESS not in outcome.reason:
        return "It is relayed, and does not say that nothing better is possible."
    return None


def _is_luck_of_birthdays(outcome: Outcome) -> bool:
    """Tell whether this, too, can come of many ports that are drawn at random.

    The method may miss, and a stream is next. And a NAT that filters by address may
    draw, for one of a thousand probes, just the port that the peer was told of: then
    the path found is that one.
    """
    if outcome.method is Method.DIRECT:
        return any(told.startswith("birthday ok") for told in outcome.attempts)
    return outcome.method is Method.TCP


def _method(seen: tuple[dict[str, Any], ...], first: float | None) -> Method | None:
    """Return the strongest method that either side reports."""
    if first is None:
        return None
    if any(peer["path"]["kind"] != "direct" for peer in seen):
        return Method.RELAY
    order = list(Method)
    methods = [_METHODS.get(peer["path"]["method"], Method.DIRECT) for peer in seen]
    return max(methods, key=order.index)


def _path(answer: dict[str, Any]) -> str:
    return f"{answer['path']['method']} {answer['path']['remote']}"


def _told(attempt: dict[str, Any]) -> str:
    return f"{attempt['method']} {attempt['result']}: {attempt['detail']}"


def _both_gave_up(one: MeshNode, other: MeshNode) -> bool:
    return all(
        HOPELESS in node.peer(peer)["reason"]
        for node, peer in ((one, other), (other, one))
    )
