"""What runs in the coordinator's process beside the control server: STUN and TURN."""

from collections.abc import Iterator
from typing import Protocol

from coordinator.runtime.metrics import Metric


class Service(Protocol):
    """Something with sockets of its own."""

    async def start(self) -> None:
        """Bind the sockets and begin to serve.

        :raises MeshError: if that is not possible.
        """

    async def close(self) -> None:
        """Close the sockets."""

    def metrics(self) -> Iterator[Metric]:
        """Yield what ``/metrics`` shows."""
