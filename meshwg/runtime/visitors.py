"""Who is connected to the control socket, and whose turn it is to make room.

Everybody on the machine may connect. So nobody gets more than a share, all ordinary
users together leave room for the administrator, and whoever has connected without
asking anything makes room for the next.
"""

import asyncio
import os
from collections import Counter

USER_SHARE = 16
"""Connections of one ordinary user: as many commands at once are more than people and
scripts need."""
ORDINARY_SHARE = 48
"""Connections of all ordinary users together."""
OWNER_SHARE = 64
"""Connections of root and the daemon's own user."""

Visit = asyncio.Task[None]


class Visitors:
    """The connections of one socket, arriving or in service, with their users."""

    def __init__(self) -> None:
        self._arriving: dict[Visit, int] = {}
        """The longest silent first."""
        self._in_service: dict[Visit, int] = {}

    def make_room(self, user: int) -> bool:
        """Return whether a user may have one more connection.

        The one that has been silent longest is cancelled if that helps.
        """
        if is_owner(user):
            crowd = [each for each in self._users() if is_owner(each)]
            return len(crowd) < OWNER_SHARE or self._end_silent(user)
        counts = Counter(each for each in self._users() if not is_owner(each))
        if counts[user] >= USER_SHARE:
            return self._end_silent(user)
        if counts.total() < ORDINARY_SHARE:
            return True
        # Whoever holds most of it gives way first.
        return any(self._end_silent(each) for each, _ in counts.most_common())

    def arrive(self, visit: Visit, user: int) -> None:
        """A user has connected, and asked nothing yet."""
        self._arriving[visit] = user
        visit.add_done_callback(self._forget)

    def serve(self, visit: Visit) -> None:
        """A request is there whole."""
        self._in_service[visit] = self._arriving.pop(visit)

    async def leave(self, grace: float) -> None:
        """End all connections, those in service only after some seconds."""
        for visit in self._arriving:
            visit.cancel()
        if self._in_service:
            await asyncio.wait(self._in_service, timeout=grace)
        for visit in self._in_service:
            visit.cancel()
        if left := [*self._arriving, *self._in_service]:
            await asyncio.wait(left)

    def _users(self) -> list[int]:
        return [*self._arriving.values(), *self._in_service.values()]

    def _end_silent(self, user: int) -> bool:
        for visit, owner in self._arriving.items():
            if owner == user or (is_owner(owner) and is_owner(user)):
                visit.cancel()
                del self._arriving[visit]
                return True
        return False

    def _forget(self, visit: Visit) -> None:
        self._arriving.pop(visit, None)
        self._in_service.pop(visit, None)


def is_owner(user: int) -> bool:
    """Tell whether a user may change anything: root, or the daemon's own."""
    return user in (0, os.geteuid())
