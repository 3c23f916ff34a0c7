"""What a user is told of the coordinator: that it is away and why, and that it is back.

Each is logged once, however often the node tries again, and stands under ``health`` as
long as it is so. The client notes the state; nothing here has a timer.
"""

import logging

from meshwg.control.client import ControlClient, ControlState
from meshwg.health import Complaint, Health, Severity

CODE = "coordinator"
MAX_CAUSES = 8
"""Causes of one absence that are logged, so that no coordinator can fill the log."""

_KEPT = "paths and sessions go on without it"
_MEND_AWAY = "See that the coordinator runs, and that this machine reaches it."
_MEND_FORGOTTEN = (
    "Have the coordinator's database restored, or join again with 'meshwg join'."
)
_MEND_STRANGER = (
    "See that the coordinator runs, and that its address in the token is right."
)

logger = logging.getLogger(__name__)


class CoordinatorNews:
    """Watches one control client for the log and the health of its node.

    :param url: the coordinator's, where the client knows none.
    """

    def __init__(self, client: ControlClient, health: Health, url: str) -> None:
        self._client = client
        self._health = health
        self._url = url
        self._seen: tuple[ControlState, str | None] = client.state, client.error
        self._away_since: float | None = None
        self._causes: set[str] = set()

    def look(self, now: float) -> None:
        """Tell what has changed; to be called after each turn of the client."""
        client = self._client
        seen = client.state, client.error
        if seen == self._seen:
            return
        self._seen = seen
        if client.state is ControlState.CONNECTED:
            self._tell_present(now)
        elif client.state is not ControlState.ENDED and client.error is not None:
            self._tell_absent(client.error, now)

    def _tell_present(self, now: float) -> None:
        since = ""
        if self._away_since is not None:
            since = f" again, after {now - self._away_since:.0f} s"
        url = self._client.coordinators.current or self._url
        logger.info("Connected to the coordinator %s%s", url, since)
        self._health.clear(CODE)
        self._away_since = None
        self._causes.clear()

    def _tell_absent(self, error: str, now: float) -> None:
        cause = error.rstrip(".")
        if self._away_since is None:
            self._away_since = now
        if cause not in self._causes and len(self._causes) < MAX_CAUSES:
            self._causes.add(cause)
            logger.warning("%s", self._sentence(cause))
        is_warning = self._client.registered is not None
        severity = Severity.WARNING if is_warning else Severity.FAILURE
        text = f"{self._sentence(cause)}."
        self._health.set(Complaint(CODE, severity, text, self._mend()))

    def _sentence(self, cause: str) -> str:
        if self._client.registered is None:
            return f"This node has not joined its mesh yet, and goes on trying: {cause}"
        return f"{cause}; {_KEPT}"

    def _mend(self) -> str:
        if self._client.is_forgotten:
            return _MEND_FORGOTTEN
        return _MEND_STRANGER if self._client.registered is None else _MEND_AWAY
