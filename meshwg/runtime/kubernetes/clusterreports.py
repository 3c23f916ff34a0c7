"""What the cluster is told of a node, as soon as its API server is there."""

import asyncio
import logging
import time
from collections import deque

from meshwg.errors import MeshError
from meshwg.kubernetes.agent import SetCondition, Tell
from meshwg.kubernetes.clusternode import ClusterNode
from meshwg.kubernetes.objects import condition_patch, event
from meshwg.runtime.kubernetes.api import ClusterApi

MAX_UNTOLD = 16
"""Events that wait for the API server; the oldest are given up."""
RETRY = 5.0
"""Seconds until it is tried again."""

logger = logging.getLogger(__name__)


class ClusterReports:
    """Conditions and Events of one Node object.

    :param name: of the node.
    """

    def __init__(self, api: ClusterApi, name: str) -> None:
        self._api = api
        self._name = name
        self.node: ClusterNode | None = None
        """What is known of the node."""
        self._condition: SetCondition | None = None
        self._untold: deque[Tell] = deque(maxlen=MAX_UNTOLD)
        self._wake = asyncio.Event()

    def set_condition(self, condition: SetCondition) -> None:
        """Say whether pods have a network here, in place of what was not said yet."""
        self._condition = condition
        self._wake.set()

    def tell(self, tell: Tell) -> None:
        """Log something, and put an Event on the Node object."""
        level = logging.WARNING if tell.is_warning else logging.INFO
        logger.log(level, "%s", tell.text)
        self._untold.append(tell)
        self._wake.set()

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except MeshError as error:
                logger.debug("The cluster was not told: %s", error)
                await asyncio.sleep(RETRY)
                self._wake.set()

    async def flush(self) -> None:
        """Report what there is.

        :raises MeshError: if the API server does not take it.
        """
        while (condition := self._condition) is not None:
            await self._api.patch_status(condition_patch(condition, _now()))
            if condition is self._condition:
                self._condition = None
        while self._untold:
            tell = self._untold[0]
            await self._api.put_event(event(tell, self._name, self.node, _now()))
            if self._untold and self._untold[0] is tell:
                self._untold.popleft()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
