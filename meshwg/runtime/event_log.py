"""What the log says of events of a node that need nothing to be done."""

import logging

from meshwg.keys import format_key
from meshwg.node import (
    CoordinatorKeyChanged,
    ExitChanged,
    NodeEvent,
    PathChanged,
    PeerHeld,
    RouteTaken,
)
from meshwg.path import events as path_events

logger = logging.getLogger(__name__)


def log_event(event: NodeEvent) -> None:
    """Tell the user of what needs nothing to be done."""
    match event:
        case CoordinatorKeyChanged(key, former):
            if former is not None:
                said = "The coordinator has a new key, as the old one said: %s"
                logger.warning(said, format_key(key))
        case PeerHeld(name, reason):
            logger.warning("No traffic with %s: %s", name, reason)
        case RouteTaken(name, network, why):
            because = f", since {why}" if why else ""
            logger.info("Packets to %s go to %s%s", network, name, because)
        case ExitChanged(name, ""):
            logger.info("The internet is reached through %s", name)
        case ExitChanged(_, reason):
            logger.warning("Nothing gets to the internet: %s", reason)
        case PathChanged(peer, change):
            _log_path(peer.entry.name, change)


def _log_path(name: str, change: path_events.SelectionChanged) -> None:
    if change.kind is None:
        logger.debug("%s: no path", name)
    else:
        logger.info("%s: path %s %s", name, change.kind.value, change.endpoint)
