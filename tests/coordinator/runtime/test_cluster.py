"""What a coordinator finds out of a cluster, and what it does where it cannot."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.config import CoordinatorConfig
from coordinator.control.proofs import ProofWanted
from coordinator.kubernetes.identity import ClusterIdentity, ClusterProof
from coordinator.kubernetes.nodeobjects import LABEL_PREFIX
from coordinator.kubernetes.servicetokens import TokenRules
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes, Refused
from coordinator.mesh.registry import Registry
from coordinator.runtime import cluster as module
from coordinator.runtime.cluster import (
    ClusterAccess,
    ClusterVerifier,
    cluster_access,
)
from coordinator.runtime.unexpected import Unexpected
from meshwg.errors import ConfigError
from meshwg.wire.control import ErrorCode
from tests.coordinator.kubernetes.issuer import ISSUER, RULES, Issuer, claims_of
from tests.coordinator.mesh.drafting import NETWORKS
from tests.kubernetes.apiserver import FakeApiServer
from tests.kubernetes.cluster import PODS, node_object

OTHERS = "10.244.2.0/24"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer(tmp_path) as server:
        yield server


async def test_a_node_is_what_its_token_and_its_object_say(api: FakeApiServer) -> None:
    bench = Bench(api)
    labels = {f"{LABEL_PREFIX}zone": "west", "zone": "east"}
    api.put(node_object(PODS, labels=labels))
    assert await bench.look(bench.token()) == ClusterProof(
        ClusterIdentity("n1", "u1", (PODS,)), ("kubernetes", "kubernetes.zone.west")
    )


async def test_without_api_server_a_node_is_only_its_name(api: FakeApiServer) -> None:
    keys = api.token_file.parent / "keys"
    bench = Bench(api, api=None, jwks=keys)
    keys.write_bytes(bench.issuer.jwks)
    found = await bench.look(bench.token())
    assert found == ClusterProof(ClusterIdentity("n1", "u1"))
    assert api.asked == []


async def test_keys_are_found_by_discovery(
    api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY", 0.0)
    bench = Bench(api, api=None, issuer=api.url)
    api.discovery = {"issuer": api.url, "jwks_uri": f"{api.url}/elsewhere"}
    found = await bench.look(bench.token(iss=api.url))
    assert isinstance(found, Refused)
    assert api.asked == ["/.well-known/openid-configuration", "/elsewhere"]
    api.discovery = {"jwks_uri": "http://insecure.test/keys"}
    found = await bench.look(bench.token(iss=api.url))
    assert isinstance(found, Refused)
    assert "names no https URL" in found.message


async def test_an_object_that_was_made_anew_is_another_node(
    api: FakeApiServer,
) -> None:
    bench = Bench(api)
    api.put(node_object(PODS, uid="another"))
    found = await bench.look(bench.token())
    assert isinstance(found, Refused)
    assert found.code is ErrorCode.TOKEN_EXPIRED


async def test_a_node_that_is_not_in_the_cluster_is_refused(
    api: FakeApiServer,
) -> None:
    bench = Bench(api)
    found = await bench.look(bench.token())
    assert isinstance(found, Refused)
    assert found.code is ErrorCode.TOKEN_UNKNOWN
    assert found.message.startswith("The cluster has no node n1: ")


async def test_a_foreign_token_asks_the_api_server_for_no_node(
    api: FakeApiServer,
) -> None:
    bench = Bench(api)
    for _ in range(5):
        found = await bench.look(Issuer().token(exp=time.time() + 60))
        assert isinstance(found, Refused)
        assert found.code is ErrorCode.TOKEN_UNKNOWN
    assert api.asked == ["/openid/v1/jwks"]


async def test_new_keys_of_the_issuer_are_found_when_one_is_shown(
    api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(api)
    api.put(node_object(PODS))
    assert isinstance(await bench.look(bench.token()), ClusterProof)
    bench.issuer = Issuer("new")
    api.jwks = bench.issuer.jwks
    assert isinstance(await bench.look(bench.token()), Refused)
    monkeypatch.setattr(module, "KEYS_INTERVAL", 0.0)
    assert isinstance(await bench.look(bench.token()), ClusterProof)


async def test_a_cluster_that_did_not_answer_is_not_asked_for_each_of_its_nodes(
    api: FakeApiServer,
) -> None:
    bench = Bench(api)
    api.put(node_object(PODS))
    api.is_away = True
    for _ in range(20):
        found = await bench.look(bench.token())
        assert isinstance(found, Refused)
        assert found.code is ErrorCode.TRY_AGAIN
    assert len(api.asked) == 1


async def test_while_the_cluster_does_not_answer_nodes_are_to_try_again(
    api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY", 0.0)
    bench = Bench(api)
    api.put(node_object(PODS))
    api.is_away = True
    found = await bench.look(bench.token())
    assert isinstance(found, Refused)
    assert found.code is ErrorCode.TRY_AGAIN
    assert "answers 503" in found.message
    api.is_away = False
    assert isinstance(await bench.look(bench.token()), ClusterProof)


async def test_a_network_that_another_node_still_has_is_a_conflict(
    api: FakeApiServer,
) -> None:
    bench = Bench(
        api, Node("k2", "n2", "n2", 2, cluster=ClusterIdentity("n2", "u2", (PODS,)))
    )
    api.put(node_object(PODS))
    api.put(node_object(PODS, name="n2", uid="u2"))
    found = await bench.look(bench.token())
    assert isinstance(found, ClusterProof)
    assert found.identity == ClusterIdentity("n1", "u1", (), ((PODS, "n2"),))


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_network_that_another_node_had_is_free(
    api: FakeApiServer, is_gone: bool
) -> None:
    bench = Bench(
        api, Node("k2", "n2", "n2", 2, cluster=ClusterIdentity("n2", "u2", (PODS,)))
    )
    api.put(node_object(PODS))
    if not is_gone:
        api.put(node_object(OTHERS, name="n2", uid="u2"))
    found = await bench.look(bench.token())
    assert isinstance(found, ClusterProof)
    assert found.identity.networks == (PODS,)


async def test_a_certificate_of_somebody_else_is_not_believed(
    api: FakeApiServer,
) -> None:
    bench = Bench(api, ca=None)
    found = await bench.look(bench.token())
    assert isinstance(found, Refused)
    assert found.code is ErrorCode.TRY_AGAIN
    assert "certificate" in found.message


async def test_what_nobody_expected_refuses_one_node_and_is_noted(
    api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(api)

    def fail(*_: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(module, "verify", fail)
    found = await bench.look(bench.token())
    assert isinstance(found, Refused)
    assert found.code is ErrorCode.TRY_AGAIN
    assert bench.unexpected.count == 1


def test_settings_name_a_cluster_or_none(tmp_path: Path) -> None:
    assert cluster_access(CoordinatorConfig()) is None
    access = cluster_access(
        CoordinatorConfig(
            kubernetes_issuer=ISSUER,
            kubernetes_api="https://192.0.2.1:6443/",
            kubernetes_account="mesh/agent",
        )
    )
    assert access is not None
    assert access.rules == TokenRules(ISSUER, "mesh", "agent")
    assert access.api == "https://192.0.2.1:6443"


async def test_certificates_that_are_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    access = ClusterAccess(RULES, ca=path)
    with pytest.raises(ConfigError, match="--kubernetes-ca"):
        ClusterVerifier(access, Registry(NETWORKS, "e"), lambda *_: None, Unexpected())


class Bench:
    """A verifier in front of an API server whose issuer signs tokens."""

    def __init__(
        self,
        server: FakeApiServer,
        *members: Node,
        issuer: str = ISSUER,
        **changes: Any,
    ) -> None:
        self.issuer = Issuer()
        server.jwks = self.issuer.jwks
        access = ClusterAccess(
            dataclasses.replace(RULES, issuer=issuer),
            api=server.url,
            token_file=server.token_file,
            ca=server.certificate,
        )
        registry = Registry(NETWORKS, "e")
        registry.apply(Changes(1, members))
        self.unexpected = Unexpected()
        self._found: asyncio.Queue[tuple[str, ClusterProof | Refused]] = asyncio.Queue()
        self._verifier = ClusterVerifier(
            dataclasses.replace(access, **changes),
            registry,
            lambda *found: self._found.put_nowait(found),
            self.unexpected,
        )

    def token(self, **changes: Any) -> str:
        """Return a token of an agent that is valid now."""
        now = time.time()
        times = {"exp": now + 600, "nbf": now - 1}
        return self.issuer.sign({**claims_of(), **times, **changes})

    async def look(self, token: str) -> ClusterProof | Refused:
        """Return what comes of a token."""
        self._verifier.look(ProofWanted("s1", "k", token))
        session, found = await asyncio.wait_for(self._found.get(), 20)
        assert session == "s1"
        return found
