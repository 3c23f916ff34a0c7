"""Promises about ratios: one median of a run divided by another of the same run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ratio:
    """One promise, and the two medians that it is held against."""

    name: str
    ours: float
    theirs: float
    limit: float
    is_floor: bool = False
    """Whether the ratio must reach the limit, and not stay within it."""

    @property
    def value(self) -> float:
        return self.ours / self.theirs if self.theirs else float("inf")

    @property
    def is_met(self) -> bool:
        return self.value >= self.limit if self.is_floor else self.value <= self.limit

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ratio": round(self.value, 3),
            "limit": self.limit,
            "is_floor": self.is_floor,
            "met": self.is_met,
        }


def table(ratios: Sequence[Ratio]) -> str:
    """Return the ratios as lines of a table."""
    width = max(len(ratio.name) for ratio in ratios)
    head = f"{'':<{width}}  {'target':>8}  {'ratio':>7}"
    return "\n".join([head, *(_row(ratio, width) for ratio in ratios)])


def _row(ratio: Ratio, width: int) -> str:
    limit = f"{'>=' if ratio.is_floor else '<='} {ratio.limit:.2f}"
    met = "met" if ratio.is_met else "MISSED"
    return f"{ratio.name:<{width}}  {limit:>8}  {ratio.value:6.2f}x  {met}"
