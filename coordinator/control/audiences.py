"""The connected members by the class that a policy gives them.

What changes is told to the classes that see it, so it has to be known who is in these
without looking at all the others.
"""

from collections.abc import Iterable

from coordinator.control.connection import Connection


class Audiences:
    """The members of each class."""

    def __init__(self) -> None:
        self._by_class: dict[int, dict[Connection, None]] = {}
        self._classes: dict[Connection, int] = {}

    def put(self, connection: Connection, number: int) -> None:
        """Take note of the class of a member."""
        if self._classes.get(connection) == number:
            return
        self.remove(connection)
        self._classes[connection] = number
        self._by_class.setdefault(number, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget a member that is connected no longer."""
        number = self._classes.pop(connection, None)
        if number is None:
            return
        members = self._by_class[number]
        del members[connection]
        if not members:
            del self._by_class[number]

    def of(self, number: int) -> Iterable[Connection]:
        """Return the members of a class."""
        return self._by_class.get(number, {}).keys()
