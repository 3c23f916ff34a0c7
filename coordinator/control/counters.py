"""What the control server counts, for ``/metrics``."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ControlCounters:
    """Counters that the parts of one control server share."""

    events: Counter[str] = field(default_factory=Counter)
    """What happened how often, by name."""
    refusals: Counter[str] = field(default_factory=Counter)
    """What was refused how often, by error code."""
