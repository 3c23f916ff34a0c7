"""What the two sides of an attempt say to each other, as parts of offers.

:mod:`meshwg.path.puncher` has the order of the steps.
"""

from collections.abc import Mapping

from meshwg.path.aim import PunchAttempt
from meshwg.path.punch import FIRST_PORT, LAST_PORT, Role
from meshwg.path.traits import DELTA_LIMIT


def ask(attempt: PunchAttempt) -> dict[str, object]:
    """Return what asks the peer for an attempt."""
    return {
        "step": "ask",
        "method": attempt.method.value,
        "role": attempt.peer_role.value,
        "peer_role": attempt.role.value,
        **told(attempt),
    }


def told(attempt: PunchAttempt) -> dict[str, object]:
    """Return what the peer has to know of this side's ports, or may say of its own."""
    said: dict[str, object] = {}
    if attempt.role is Role.FAN and attempt.peer_role is Role.PROBE:
        said["any_port"] = True
    if attempt.own_sequence is not None:
        said["port"], said["delta"] = attempt.own_sequence
    return said


def sequence(raw: Mapping[str, object]) -> tuple[int, int] | None:
    """Return port and step of a sequence, if they are usable."""
    port, delta = raw.get("port"), raw.get("delta")
    if not isinstance(port, int) or not isinstance(delta, int):
        return None
    usable = FIRST_PORT <= port <= LAST_PORT and 0 < abs(delta) <= DELTA_LIMIT
    return (port, delta) if usable else None


def text(value: object) -> str:
    """Return what a peer says as it can be shown: short and printable."""
    text = value[:100] if isinstance(value, str) else "no reason given"
    return "".join(letter if letter.isprintable() else "?" for letter in text)
