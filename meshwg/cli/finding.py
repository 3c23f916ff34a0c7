"""One thing that ``meshwg doctor`` has looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and how it is."""

    code: str
    severity: str
    """``ok``, ``warning`` or ``failure``."""
    text: str
    mend: str | None = None
