"""Which refusals of the coordinator are final."""

from meshwg.control.refusals import HOPELESS, MEMBERSHIP_LOST, TOKEN_REFUSED
from meshwg.wire.control import ErrorCode


def test_nothing_that_passes_with_time_is_final() -> None:
    passing = {ErrorCode.TRY_AGAIN, ErrorCode.SHUTTING_DOWN, ErrorCode.REPLACED}

    assert HOPELESS.isdisjoint(passing)
    assert HOPELESS >= MEMBERSHIP_LOST | TOKEN_REFUSED
    assert MEMBERSHIP_LOST.isdisjoint(TOKEN_REFUSED)
