"""A lease in the API server of a cluster.

One connection serves many requests. It is made anew after a failure, and from time to
time: kubelet renews the token, and a NAT may have forgotten the connection.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.core.exceptions import ConfigError as ClientConfigError
from lightkube.generic_resource import create_namespaced_resource

from meshwg.errors import ConfigError, MeshError
from meshwg.kubernetes.election import LeaseRecord, LeaseTaken
from meshwg.kubernetes.lease import body_of, record_of
from meshwg.runtime import clock
from meshwg.runtime.kubernetes.api import ANSWER, ApiAccess

SESSION = 300.0
"""Seconds for which a connection is used."""

Lease = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409


class KubernetesLeases:
    """One Lease object."""

    def __init__(self, access: ApiAccess, namespace: str, name: str) -> None:
        self._access = access
        self._namespace, self._name = namespace, name
        self._client: AsyncClient | None = None
        self._made_at = 0.0
        self._body: Mapping[str, Any] = {}
        """As it was read or written last."""

    async def read(self) -> LeaseRecord | None:
        """Return the record, ``None`` if there is none.

        :raises MeshError: if that is not to be had.
        """
        client = await self._connected()
        with self._explained():
            try:
                found = await client.get(Lease, self._name, namespace=self._namespace)
            except ApiError as error:
                if _code(error) != _NOT_FOUND:
                    raise
                self._body = {}
                return None
        return self._seen(dict(found))

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record in place of the version that it names.

        :raises LeaseTaken: if there is another one.
        :raises MeshError: if it could not be stored, as far as is known.
        """
        before = self._body if record_of(self._body).version == record.version else {}
        body = body_of(record, self._namespace, self._name, before, _now())
        client = await self._connected()
        with self._explained():
            try:
                if record.version:
                    stored = await client.replace(Lease(**body))
                else:
                    stored = await client.create(Lease(**body))
            except ApiError as error:
                if _code(error) in (_CONFLICT, _NOT_FOUND):
                    raise LeaseTaken from None
                raise
        return self._seen(dict(stored))

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _seen(self, body: dict[str, Any]) -> LeaseRecord:
        self._body = body
        return record_of(body)

    async def _connected(self) -> AsyncClient:
        now = clock.now()
        if self._client is None or now >= self._made_at + SESSION:
            await self.close()
            config = await asyncio.to_thread(self._access.read)
            timeout = httpx2.Timeout(ANSWER)
            try:
                self._client = AsyncClient(
                    config=config, timeout=timeout, trust_env=False
                )
            except (OSError, ValueError, ClientConfigError) as error:
                raise ConfigError(
                    "The API server cannot be reached as the configuration says "
                    f"({error}): correct the certificate or the token that it names"
                ) from None
            self._made_at = now
        return self._client

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make one kind of error of all that may go wrong.

        :raises MeshError: in its place.
        """
        try:
            yield
        except ApiError as error:
            self._made_at = 0.0
            lease = f"{self._namespace}/{self._name}"
            if _code(error) == _FORBIDDEN:
                raise MeshError(
                    f"The API server does not let this account use the Lease {lease}: "
                    "apply the role that 'meshwg-k8s manifest --vip' prints"
                ) from None
            raise MeshError(
                f"The API server refuses the Lease {lease}: {error}"
            ) from None
        except (httpx2.HTTPError, OSError) as error:
            self._made_at = 0.0
            why = str(error) or type(error).__name__
            raise MeshError(f"The API server cannot be reached ({why})") from None


def _code(error: ApiError) -> int:
    return 0 if error.status is None or error.status.code is None else error.status.code


def _now() -> str:
    """Return the wall clock's time as Kubernetes writes moments in Leases."""
    nanoseconds = time.time_ns()
    seconds, rest = divmod(nanoseconds, 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest // 1000:06d}Z"
