"""The API server of the cluster, as the agent of one node sees it.

Each session with it is bounded: then the node is read anew, with a new connection and
the token that kubelet has renewed by then. A watch over a connection that a NAT has
forgotten would be silent for ever otherwise.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ConfigError as ClientConfigError
from lightkube.resources.core_v1 import Event, Node, NodeStatus

from meshwg.errors import ConfigError, MeshError
from meshwg.kubernetes.clusternode import ClusterNode, read_node
from meshwg.runtime.surprises import Surprises

SESSION = 300.0
"""Seconds after which the node is read anew."""
ANSWER = 10.0
"""Seconds for one answer of the API server."""
MIN_PAUSE, MAX_PAUSE = 1.0, 30.0
"""Seconds between two attempts while it does not answer; they double."""
NOT_FOUND = 404

logger = logging.getLogger(__name__)


class ApiUnreachable(MeshError):
    """The API server does not answer, or refuses."""


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """How the API server is reached."""

    kubeconfig: Path | None = None
    """``None``: as kubelet tells pods."""
    server: str | None = None
    """Its URL, if it is to be another one: services need a network first."""

    def read(self) -> SingleConfig:
        """Return the configuration as it is now: kubelet renews tokens.

        :raises ConfigError: if there is none.
        """
        try:
            config = self._config().get()
        except (ClientConfigError, OSError, KeyError, ValueError, TypeError) as error:
            raise ConfigError(
                f"It is not known how to reach the API server ({error}): run this in a "
                "pod with a service account, or name a file with --kubeconfig"
            ) from None
        assert config is not None
        if self.server is None:
            return config
        cluster = config.cluster
        cluster.server = self.server
        return config._replace(cluster=cluster)

    def _config(self) -> KubeConfig:
        if self.kubeconfig is not None:
            return KubeConfig.from_file(self.kubeconfig)
        return KubeConfig.from_env()


class ClusterApi:
    """What one agent reads and writes.

    :param name: of its Node object.
    """

    def __init__(self, access: ApiAccess, name: str) -> None:
        self._access = access
        self._name = name
        self._pause = MIN_PAUSE
        self._surprises = Surprises(logger)
        self.error: str | None = None
        """Why it is not known how the node is, in one sentence."""

    async def watch(self, on_node: Callable[[ClusterNode | None], None]) -> None:
        """Tell of the node as it is and changes, for ever.

        :param on_node: called with ``None`` if the API server says there is none.
        """
        while True:
            try:
                async with asyncio.timeout(SESSION):
                    await self._follow(on_node)
            except TimeoutError:
                # It is over, or nobody answers: both end in another attempt.
                await self._rest(None)
            except (ApiUnreachable, ConfigError) as error:
                await self._rest(str(error))
            except Exception as error:
                self._surprises.note(error)
                await self._rest("What the API server says was not expected")

    async def follow_all(
        self,
        on_all: Callable[[list[ClusterNode]], None],
        on_change: Callable[[ClusterNode, bool], None],
    ) -> None:
        """Tell of all nodes of the cluster, and then of changes, for ever.

        :param on_change: called with whether the node is gone.
        :raises MeshError: if the API server does not answer, or no longer.
        """
        async with self._client() as client:
            listed = client.list(Node)
            async with asyncio.timeout(ANSWER):
                nodes = [read_node(each.to_dict()) async for each in listed]
            on_all(nodes)
            version = listed.resourceVersion
            async for kind, changed in client.watch(Node, resource_version=version):
                on_change(read_node(changed.to_dict()), kind == "DELETED")

    async def patch_status(self, patch: Mapping[str, Any]) -> None:
        """Change the status of the Node object.

        :raises MeshError: if that fails.
        """
        async with self._client() as client:
            await client.patch(NodeStatus, self._name, dict(patch))

    async def put_event(self, event: Mapping[str, Any]) -> None:
        """Make an Event.

        :raises MeshError: if that fails.
        """
        async with self._client() as client:
            made = Event.from_dict(dict(event))
            assert isinstance(made, Event)
            await client.create(made)

    async def _follow(self, on_node: Callable[[ClusterNode | None], None]) -> None:
        async with self._client() as client:
            try:
                async with asyncio.timeout(ANSWER):
                    node = await client.get(Node, self._name)
            except httpx2.HTTPStatusError as error:
                if error.response is None or error.response.status_code != NOT_FOUND:
                    raise
                self._heard()
                on_node(None)
                # It may be made any moment.
                await asyncio.sleep(MIN_PAUSE)
                return
            self._heard()
            on_node(read_node(node.to_dict()))
            metadata = node.metadata
            version = None if metadata is None else metadata.resourceVersion
            changes = client.watch(
                Node, fields={"metadata.name": self._name}, resource_version=version
            )
            async for kind, changed in changes:
                on_node(None if kind == "DELETED" else read_node(changed.to_dict()))

    def _heard(self) -> None:
        if self.error is not None:
            logger.info("The API server answers again")
        self.error, self._pause = None, MIN_PAUSE

    async def _rest(self, error: str | None) -> None:
        if error is not None and error != self.error:
            logger.warning("%s; all stays as it is until then", error)
        self.error = error or self.error
        await asyncio.sleep(random.uniform(MIN_PAUSE / 2, self._pause))
        self._pause = min(2 * self._pause, MAX_PAUSE)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncClient]:
        """Yield a client; what goes wrong with it is one kind of error.

        :raises ApiUnreachable: in place of all that may go wrong.
        """
        config = await asyncio.to_thread(self._access.read)
        timeout = httpx2.Timeout(ANSWER)
        try:
            client = AsyncClient(config=config, timeout=timeout, trust_env=False)
        except (OSError, ValueError, ClientConfigError) as error:
            raise ConfigError(
                f"The API server cannot be reached as the configuration says ({error}):"
                " correct the certificate or the token that it names"
            ) from None
        try:
            yield client
        except httpx2.HTTPStatusError as error:
            why = str(error).partition("\n")[0]
            raise ApiUnreachable(f"The API server refuses: {why}") from None
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise ApiUnreachable(
                f"The API server at {config.cluster.server} cannot be reached ({why})"
            ) from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise ApiUnreachable(
                f"What the API server says cannot be understood ({error})"
            ) from None
        finally:
            await client.close()
