"""Why something from the coordinator was ignored."""

from enum import StrEnum


class ControlDrop(StrEnum):
    """Why something from the coordinator was ignored."""

    MALFORMED = "control-malformed"
    UNKNOWN_TYPE = "control-unknown-type"
    """A message of a newer coordinator."""
    UNEXPECTED = "control-unexpected"
    """A message before its time, or an offer that is not for this node."""
    NOT_AUTHENTIC = "control-not-authentic"
    """A frame that the coordinator's key did not seal."""
