"""Which connections were heard, and spoken to, when.

Both orders are kept as the keys of a dictionary, the longest silent first: to note a
frame, and to find who has been silent for too long, costs the same for one connection
and for thousands, and needs no timer per connection.

When this process itself was held up, what nodes have sent is still unread. They get a
little more time then; otherwise a busy moment would end connections, and the next one
would be busier still.
"""

from collections import OrderedDict

LATE = 0.5
"""Seconds by which a check for silence is late if this process was held up."""
CATCH_UP_TIME = 2.0
"""Seconds to read what has piled up in that case."""


class Presence:
    """The times of the last frame from and to each connection.

    :param silence: seconds after which a connection that says nothing is dead.
    :param heartbeat: seconds after which this side says something itself.
    """

    def __init__(self, silence: float, heartbeat: float) -> None:
        self._silence, self._heartbeat = silence, heartbeat
        self._not_before = float("-inf")
        self._heard: OrderedDict[int, float] = OrderedDict()
        self._spoken: OrderedDict[int, float] = OrderedDict()

    def add(self, connection: int, now: float) -> None:
        self.heard(connection, now)
        self.spoke(connection, now)

    def remove(self, connection: int) -> None:
        self._heard.pop(connection, None)
        self._spoken.pop(connection, None)

    def heard(self, connection: int, now: float) -> None:
        self._heard[connection] = now
        self._heard.move_to_end(connection)

    def spoke(self, connection: int, now: float) -> None:
        self._spoken[connection] = now
        self._spoken.move_to_end(connection)

    def last_heard(self, connection: int) -> float:
        """Return when a connection was heard last; long ago if it is not known."""
        return self._heard.get(connection, float("-inf"))

    def silent(self, now: float) -> list[int]:
        """Return the connections that are dead by now."""
        at = self._silence_at
        if at is None or now < at:
            return []
        if now - at > LATE:
            self._not_before = now + CATCH_UP_TIME
            return []
        return _overdue(self._heard, self._silence, now)

    def due(self, now: float) -> list[int]:
        """Return the connections that are owed a heartbeat."""
        return _overdue(self._spoken, self._heartbeat, now)

    def get_timer(self) -> float | None:
        if self._silence_at is None:
            return None
        spoken = next(iter(self._spoken.values()))
        return min(self._silence_at, spoken + self._heartbeat)

    @property
    def _silence_at(self) -> float | None:
        """When to check for silence next."""
        if not self._heard:
            return None
        first = next(iter(self._heard.values()))
        return max(first + self._silence, self._not_before)


def _overdue(order: OrderedDict[int, float], after: float, now: float) -> list[int]:
    # The same sum as in get_timer(), so that rounding cannot make the timer too early.
    found = []
    for connection, at in order.items():
        if at + after > now:
            break
        found.append(connection)
    return found
