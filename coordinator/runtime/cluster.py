"""Asks a Kubernetes cluster who its nodes are: its issuer for keys, its API server.

Whoever connects may show a token, so nothing is asked on behalf of one that the known
keys have not signed, except for new keys, and that seldom. What the cluster does not
answer in time is not known: members go on as what they were, and strangers try again.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from coordinator.config import CoordinatorConfig
from coordinator.control.proofs import ProofWanted
from coordinator.kubernetes.identity import ClusterIdentity, ClusterProof
from coordinator.kubernetes.nodeobjects import NodeFacts, read_facts
from coordinator.kubernetes.servicetokens import (
    Keys,
    KeyUnknown,
    PodClaims,
    ServiceTokenRefused,
    TokenRules,
    load_keys,
    verify,
)
from coordinator.mesh.operations import Refused
from coordinator.mesh.registry import Registry
from coordinator.runtime.unexpected import Unexpected
from meshwg.errors import ConfigError, MeshError
from meshwg.wire.control import ErrorCode

POD_SECRETS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet puts what a pod needs to ask the API server."""
ANSWER = 5.0
"""Seconds for one answer. A connection has 15 s to become a member's."""
KEYS_LIFETIME = 600.0
"""Seconds for which keys are kept."""
KEYS_INTERVAL = 10.0
"""Seconds between two looks for new keys, whoever shows what."""
MAX_ANSWER = 2 * 1024 * 1024
"""Bytes: a Node object has some tens of thousands, most of them names of images."""
AT_ONCE = 8
"""Nodes that are asked for at the same time."""
AWAY = 10.0
"""Seconds for which a cluster that did not answer is not asked again: all its nodes may
come at once, and none of them is to wait until it is too late."""

logger = logging.getLogger(__name__)


class ClusterUnreachable(MeshError):
    """The issuer or the API server does not answer as it should."""


class NotInCluster(MeshError):
    """The API server answers that there is no such node."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How a cluster is asked, and which of its tokens let nodes in."""

    rules: TokenRules
    api: str | None = None
    jwks: Path | None = None
    token_file: Path | None = None
    ca: Path | None = None


def cluster_access(config: CoordinatorConfig) -> ClusterAccess | None:
    """Return what the settings say of a cluster, ``None`` if they name none."""
    if config.kubernetes_issuer is None:
        return None
    namespace, _, account = config.kubernetes_account.partition("/")
    rules = TokenRules(config.kubernetes_issuer, namespace, account)
    api = config.kubernetes_api
    return ClusterAccess(
        rules,
        None if api is None else api.rstrip("/"),
        config.kubernetes_jwks,
        config.kubernetes_token_file or _of_pod("token"),
        config.kubernetes_ca or _of_pod("ca.crt"),
    )


class ClusterVerifier:
    """Finds out whether nodes are what they say.

    :param registry: who is a member, and as which node.
    :param on_proved: called with the session of each node, and with what was found.
    """

    def __init__(
        self,
        access: ClusterAccess,
        registry: Registry,
        on_proved: Callable[[str, ClusterProof | Refused], None],
        unexpected: Unexpected,
    ) -> None:
        self._access = access
        self._registry = registry
        self._on_proved = on_proved
        self._unexpected = unexpected
        self._tls = _tls(access.ca)
        self._keys: Keys | None = None
        self._keys_at = float("-inf")
        self._away_until = float("-inf")
        self._lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, wanted: ProofWanted) -> None:
        """Begin to find out about one node."""
        task = asyncio.get_running_loop().create_task(self._look(wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up on all of them."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _look(self, wanted: ProofWanted) -> None:
        found: ClusterProof | Refused = Refused(
            ErrorCode.TRY_AGAIN, "It cannot be found out whether this node may join"
        )
        loop = asyncio.get_running_loop()
        try:
            async with self._slots:
                if loop.time() >= self._away_until:
                    found = await self._prove(wanted.token)
        except ServiceTokenRefused as error:
            found = Refused(error.code, str(error))
        except ClusterUnreachable as error:
            logger.warning("%s", error)
            found = Refused(ErrorCode.TRY_AGAIN, str(error))
            self._away_until = loop.time() + AWAY
        except Exception as error:
            where = "looking at a service-account token"
            self._unexpected.note(where, error, loop.time())
        self._on_proved(wanted.session, found)

    async def _prove(self, token: str) -> ClusterProof:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER), trust_env=False
        ) as session:
            asking = _Asking(self._access, session, self._tls)
            claims = await self._verify(token, asking)
            if self._access.api is None:
                identity = ClusterIdentity(claims.node, claims.node_uid)
                return ClusterProof(identity)
            return await self._prove_by_object(claims, asking)

    async def _verify(self, token: str, asking: "_Asking") -> PodClaims:
        """Return what a token says, with keys that are new enough."""
        rules = self._access.rules
        keys = await self._known_keys(asking, KEYS_LIFETIME)
        try:
            return await asyncio.to_thread(verify, token, keys, rules, time.time())
        except KeyUnknown:
            newer = await self._known_keys(asking, KEYS_INTERVAL)
            if newer is keys:
                raise
            return await asyncio.to_thread(verify, token, newer, rules, time.time())

    async def _known_keys(self, asking: "_Asking", lifetime: float) -> Keys:
        """Return the issuer's keys, asked for if they are older than that."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._keys is None or now >= self._keys_at + lifetime:
                self._keys = await asking.keys()
                self._keys_at = now
            return self._keys

    async def _prove_by_object(
        self, claims: PodClaims, asking: "_Asking"
    ) -> ClusterProof:
        """Return what the Node object says of whom a token names."""
        try:
            facts = await asking.facts(claims.node)
        except NotInCluster as error:
            raise ServiceTokenRefused(ErrorCode.TOKEN_UNKNOWN, str(error)) from None
        if claims.node_uid and claims.node_uid != facts.uid:
            raise ServiceTokenRefused(
                ErrorCode.TOKEN_EXPIRED,
                f"The node {claims.node} is another one in the cluster now: its pods "
                "get new tokens when they are made anew",
            )
        conflicts = await self._conflicts(claims.node, facts, asking)
        lost = [network for network, _ in conflicts]
        kept = tuple(each for each in facts.networks if each not in lost)
        identity = ClusterIdentity(claims.node, facts.uid, kept, conflicts)
        return ClusterProof(identity, facts.tags)

    async def _conflicts(
        self, name: str, facts: NodeFacts, asking: "_Asking"
    ) -> tuple[tuple[str, str], ...]:
        """Return networks that another node of the cluster has as well.

        Who has had one before may be gone, or have another one by now.
        """
        found = []
        for network in facts.networks:
            for rival in self._holders(network, name):
                try:
                    others = await asking.facts(rival)
                except NotInCluster:
                    continue
                if network in others.networks:
                    found.append((network, rival))
                    break
        return tuple(found)

    def _holders(self, network: str, but: str) -> list[str]:
        return [
            node.cluster.node
            for node in self._registry.nodes.values()
            if node.cluster is not None
            and node.cluster.node != but
            and network in node.cluster.networks
        ]


class _Asking:
    """Questions to a cluster, by one session."""

    def __init__(
        self,
        access: ClusterAccess,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext,
    ) -> None:
        self._access = access
        self._session = session
        self._tls = tls

    async def keys(self) -> Keys:
        """Return the issuer's keys.

        :raises ClusterUnreachable: if they cannot be had.
        """
        access = self._access
        try:
            if access.jwks is not None:
                return load_keys(await asyncio.to_thread(access.jwks.read_bytes))
            if access.api is not None:
                url = f"{access.api}/openid/v1/jwks"
                return load_keys(await self._get(url, is_api=True))
            return load_keys(await self._get(await self._discover(), is_api=False))
        except OSError as error:
            raise ClusterUnreachable(
                f"The keys {access.jwks} cannot be read ({error.strerror}): correct "
                "--kubernetes-jwks"
            ) from None
        except ValueError as error:
            raise ClusterUnreachable(
                f"The issuer's keys cannot be read ({error}): name a file of them with "
                "--kubernetes-jwks"
            ) from None

    async def facts(self, name: str) -> NodeFacts:
        """Return what the API server says of a node.

        :raises NotInCluster: if there is none of this name.
        :raises ClusterUnreachable: if that cannot be found out.
        """
        url = f"{self._access.api}/api/v1/nodes/{quote(name, safe='')}"
        try:
            return read_facts(json.loads(await self._get(url, is_api=True, what=name)))
        except ValueError:
            raise ClusterUnreachable(
                f"What the API server says of the node {name} cannot be read: correct "
                "--kubernetes-api"
            ) from None

    async def _discover(self) -> str:
        """Return where the issuer's keys are (OpenID Connect Discovery 1.0)."""
        issuer = self._access.rules.issuer.rstrip("/")
        url = f"{issuer}/.well-known/openid-configuration"
        said: Any = json.loads(await self._get(url, is_api=False))
        where = said.get("jwks_uri") if isinstance(said, dict) else None
        if not isinstance(where, str) or urlsplit(where).scheme != "https":
            raise ValueError("the issuer names no https URL for them")
        return where

    async def _get(self, url: str, *, is_api: bool, what: str = "") -> bytes:
        try:
            async with self._session.get(
                url,
                headers=self._headers() if is_api else {},
                ssl=self._tls,
                allow_redirects=False,
            ) as answer:
                if answer.status == 404 and what:
                    raise NotInCluster(
                        f"The cluster has no node {what}: see 'kubectl get nodes'"
                    )
                if answer.status != 200:
                    raise ClusterUnreachable(
                        f"The cluster answers {answer.status} at {url}: see that the "
                        "coordinator's token may read that"
                    )
                return await _read(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise ClusterUnreachable(
                f"The cluster does not answer at {url} ({why}): see that the "
                "coordinator reaches it"
            ) from None

    def _headers(self) -> dict[str, str]:
        path = self._access.token_file
        if path is None:
            return {}
        return {"Authorization": f"Bearer {path.read_text().strip()}"}


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > MAX_ANSWER:
            raise ValueError(f"it has more than {MAX_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)


def _tls(ca: Path | None) -> ssl.SSLContext:
    """Return whose certificates are believed.

    :raises ConfigError: if the file holds none.
    """
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The certificates {ca} cannot be read ({error}): name a PEM file "
                "with --kubernetes-ca"
            ) from None
    return context


def _of_pod(name: str) -> Path | None:
    path = POD_SECRETS / name
    return path if path.exists() else None
