"""What is wrong with a node, in words that a program can match and a person can use.

Whatever finds that something is not as it should be sets a complaint, and clears it
when it is over; ``meshwg status`` shows those that stand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a complaint is; the values are those of ``meshwg status --json``."""

    WARNING = "warning"
    """The node works, though not as well as it might."""
    FAILURE = "failure"
    """Something that the user counts on does not work."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong."""

    code: str
    """In kebab-case; there is one complaint of each code at most."""
    severity: Severity
    text: str
    """What is wrong, in whole sentences."""
    mend: str
    """What the user can do about it, in a whole sentence; empty if nothing."""

    def to_json(self) -> dict[str, str]:
        """Return one entry of ``health`` in ``meshwg status --json``."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "text": self.text,
            "mend": self.mend,
        }


class Health:
    """The complaints that stand, failures first, each kind in the order of its rise."""

    def __init__(self) -> None:
        self._complaints: dict[str, Complaint] = {}

    def __iter__(self) -> Iterator[Complaint]:
        standing = self._complaints.values()
        return iter(sorted(standing, key=lambda each: each.severity.value))

    def set(self, complaint: Complaint) -> None:
        """Make a complaint, instead of one of the same code."""
        self._complaints[complaint.code] = complaint

    def clear(self, code: str) -> None:
        """Withdraw a complaint, if it was made."""
        self._complaints.pop(code, None)

    def put(self, code: str, complaint: Complaint | None) -> None:
        """Make the complaint of a code, or withdraw it for ``None``."""
        if complaint is None:
            self.clear(code)
        else:
            assert complaint.code == code, f"{complaint.code} is not {code}"
            self.set(complaint)
