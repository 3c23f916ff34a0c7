"""Targets: what was measured, what it should be, and whether it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Target:
    """One promise, and the runs that it is held against."""

    name: str
    limit: float
    """What the median must stay below; 0 must be met by every run."""
    unit: str
    runs: Sequence[float]
    """What each run measured; :data:`NEVER` for one that never got there."""
    groups: Sequence[Sequence[float]] = ()
    """The same runs in groups, where each group's median counts."""

    @property
    def median(self) -> float:
        """The median of all runs, or the worst group's; infinity without any run."""
        groups = self.groups or [self.runs]
        return max(median(group) if group else NEVER for group in groups)

    @property
    def worst(self) -> float:
        return max(self.runs, default=NEVER)

    @property
    def is_met(self) -> bool:
        return self.worst <= 0 if self.limit == 0 else self.median < self.limit

    def to_json(self) -> dict[str, Any]:
        """Return the figures; what never happened is ``None``."""
        return {
            "name": self.name,
            "limit": self.limit,
            "unit": self.unit,
            "median": _finite(self.median),
            "worst": _finite(self.worst),
            "runs": [_finite(value) for value in self.runs],
            "groups": len(self.groups) or 1,
            "met": self.is_met,
        }


def table(targets: Sequence[Target]) -> str:
    """Return the targets as lines of a table."""
    width = max(len(target.name) for target in targets)
    head = f"{'':<{width}}  {'target':>8}  {'median':>8}  {'worst':>8}  {'runs':>4}"
    return "\n".join([head, *(_row(target, width) for target in targets)])


def _row(target: Target, width: int) -> str:
    limit = f"{target.limit:g} {target.unit}".strip()
    limit = f"< {limit}" if target.limit else limit
    cells = (
        f"{limit:>8}  {_shown(target.median, target)}  {_shown(target.worst, target)}"
    )
    met = "met" if target.is_met else "MISSED"
    return f"{target.name:<{width}}  {cells}  {len(target.runs):>4}  {met}"


def _shown(value: float, target: Target) -> str:
    if value == NEVER:
        return f"{'never':>8}"
    digits = 2 if target.limit else 0
    return f"{value:.{digits}f} {target.unit}".strip().rjust(8)


def _finite(value: float) -> float | None:
    return None if value == NEVER else round(value, 3)
