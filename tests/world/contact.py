"""What one node has to do with another: what it says, hears, and by which ways."""

from dataclasses import dataclass, field

from meshwg.path.candidate import CandidateKind
from meshwg.path.events import SelectionChanged

MARK = b"conversation"
NOT_DIRECT = (None, CandidateKind.RELAYED)


@dataclass
class Contact:
    """One node's side of a conversation with another.

    A conversation is packets with numbers, at a fixed pace, for as long as wanted.
    """

    interval: float | None = None
    """Seconds between two packets to the peer, ``None`` to be silent."""
    sent: int = 0
    heard: list[float] = field(default_factory=list)
    """When each packet of the peer came, leaving out what came twice."""
    changes: list[tuple[float, SelectionChanged]] = field(default_factory=list)
    """The paths to the peer, and since when each was used."""
    turn: int = 0
    """Counts the starts and ends of the conversation."""
    _seen: set[int] = field(default_factory=set)

    @property
    def received(self) -> int:
        """How many packets of the peer came."""
        return len(self.heard)

    @property
    def kind(self) -> CandidateKind | None:
        """The kind of path to the peer, ``None`` if there is none."""
        return self.changes[-1][1].kind if self.changes else None

    @property
    def is_direct(self) -> bool:
        return self.kind not in NOT_DIRECT

    def direct_at(self) -> float | None:
        """Return when data went directly for the first time."""
        return next(
            (at for at, one in self.changes if one.kind not in NOT_DIRECT), None
        )

    def next_payload(self, name: str) -> bytes:
        """Return the next packet of the node of that name."""
        self.sent += 1
        return MARK + self.sent.to_bytes(4) + name.encode()

    def receive(self, payload: bytes, now: float) -> None:
        """Take a packet of the peer."""
        number = int.from_bytes(payload[len(MARK) : len(MARK) + 4])
        if number not in self._seen:
            self._seen.add(number)
            self.heard.append(now)


def sender_of(payload: bytes) -> str | None:
    """Return the name of the node whose packet it is, if it is one's."""
    return payload[len(MARK) + 4 :].decode() if payload.startswith(MARK) else None
