"""The time limits of a connection that may be dead, and of the one made beside it."""

from dataclasses import dataclass

PROBE_TIMEOUT = 5.0
"""Seconds in which a connection must show life after the network changed."""
HEAD_START = 0.2
"""Seconds that the connection has to answer a ping before another one is made beside
it. Most changes of network concern other interfaces: of containers, for instance."""
SUCCESSOR_TIMEOUT = 4.0
"""Seconds that such a connection has to become a member's. The packet that opens it may
have been lost, and is repeated less and less often."""
SUCCESSOR_RETRY = 0.5
"""Seconds from the failure of such a connection to the next one."""
REDIAL_INTERVAL = 3.0
"""Seconds between two connections that are given up because the network has changed
again while they were made; so one that takes long is made all the same."""
SUCCESSION_TIME = 30.0
"""Seconds after a connection took over in which to be replaced means that an older one
of this node came late, and not that another machine has its key."""


@dataclass(slots=True)
class Doubt:
    """What is asked of a connection that may be dead."""

    ping: int
    """The number of the ping that it has to answer."""
    since: float
    succeed_at: float
    """When to make a connection beside it."""
