"""What members ask of leases, and the answers, which wait for the database."""

from coordinator.control.connection import LEASE_BURST, LEASE_RATE, Connection
from coordinator.control.members import Members
from coordinator.control.pending import PendingOperations
from coordinator.mesh.operations import Accepted, Refused, Result, UseLease
from meshwg.limits import RateLimiter
from meshwg.wire import control
from meshwg.wire.control import ErrorCode

TOO_OFTEN = "This node uses leases too often; it may try again a little later"
NOT_STORED = Refused(
    ErrorCode.TRY_AGAIN, "The coordinator cannot store anything just now"
)


class Leases:
    """The leases of the mesh, as members use them.

    :param max_keys: members whose rate is remembered.
    """

    def __init__(
        self, members: Members, pending: PendingOperations, *, max_keys: int
    ) -> None:
        self._members = members
        self._pending = pending
        self._rate = RateLimiter(LEASE_RATE, LEASE_BURST, max_keys=max_keys)

    def use(
        self, connection: Connection, message: control.LeaseUse, now: float
    ) -> None:
        """Take what a member asks."""
        if not self._rate.take(connection.key, now):
            refused = control.LeaseAnswer(id=message.id, refused=TOO_OFTEN)
            self._members.send(connection, refused, now)
            return
        self._pending.add(
            UseLease(
                connection.key,
                connection.session,
                message.id,
                message.prefix,
                message.base,
                message.term,
            )
        )

    def answer(self, use: UseLease, result: Result, now: float) -> None:
        """Tell a member what came of it, if it is still there."""
        connection = self._members.get(use.key)
        if connection is None or connection.session != use.session:
            return
        self._members.send(connection, _message(use.number, result), now)


def _message(number: int, result: Result) -> control.LeaseAnswer:
    if isinstance(result, Accepted) and result.lease is not None:
        return control.LeaseAnswer(
            id=number,
            version=result.lease_version,
            term=result.lease,
            written=result.is_written,
        )
    assert isinstance(result, Refused)
    return control.LeaseAnswer(id=number, refused=result.message)
