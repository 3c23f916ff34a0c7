"""What a node's files and settings say of who may reach what."""

from meshwg.config import NodeConfig
from meshwg.node.access import AccessControl
from meshwg.runtime.guardfile import read_guard
from meshwg.runtime.membership import MembershipRecord


def set_up_access(
    access: AccessControl, config: NodeConfig, membership: MembershipRecord, now: float
) -> None:
    """Have a guard, and nothing pass where nobody knows any more what may.

    :raises ConfigError: if there is something wrong with the guard.
    """
    access.set_guard(read_guard(config.guard), now)
    access.filter.sightings.is_wanted = config.flow_reports
    if membership.has_lost_netmap:
        access.lose(now)
