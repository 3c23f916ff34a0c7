"""A lease in an API server, and what that may answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from meshwg.errors import MeshError
from meshwg.kubernetes.election import LeaseRecord, LeaseTaken
from meshwg.runtime.kubernetes import leasestore as module
from meshwg.runtime.kubernetes.api import ApiAccess
from meshwg.runtime.kubernetes.leasestore import KubernetesLeases
from tests.kubernetes.apiserver import TOKEN, FakeApiServer

NAME = "kube-system/vip"
MINE = LeaseRecord("me", 4.0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer(tmp_path) as server:
        yield server


@asynccontextmanager
async def store(
    server: FakeApiServer, directory: Path
) -> AsyncIterator[KubernetesLeases]:
    access = ApiAccess(server.kubeconfig(directory))
    made = KubernetesLeases(access, "kube-system", "vip")
    try:
        yield made
    finally:
        await made.close()


async def test_a_lease_is_made_read_and_renewed(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with store(server, tmp_path) as leases:
        assert await leases.read() is None
        made = await leases.write(MINE)
        assert replace(made, version="") == MINE
        assert await leases.read() == made
        renewed = await leases.write(made)
        assert renewed.version != made.version
    spec = server.leases[NAME]["spec"]
    assert spec["holderIdentity"] == "me"
    assert spec["acquireTime"] <= spec["renewTime"]


async def test_of_two_one_is_told_that_it_is_too_late(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with store(server, tmp_path) as mine, store(server, tmp_path) as other:
        made = await mine.write(MINE)
        with pytest.raises(LeaseTaken):
            await other.write(LeaseRecord("other", 4.0))
        await mine.write(made)
        with pytest.raises(LeaseTaken):
            await other.write(replace(made, holder="other"))


async def test_one_that_was_deleted_has_to_be_made_again(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with store(server, tmp_path) as leases:
        made = await leases.write(MINE)
        del server.leases[NAME]
        with pytest.raises(LeaseTaken):
            await leases.write(made)
        assert await leases.read() is None
        await leases.write(MINE)


async def test_what_others_have_put_into_it_stays(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with store(server, tmp_path) as leases:
        made = await leases.write(MINE)
        server.leases[NAME]["metadata"]["labels"] = {"team": "sre"}
        await leases.read()
        await leases.write(made)
    assert server.leases[NAME]["metadata"]["labels"] == {"team": "sre"}


async def test_an_account_without_the_right_is_told_where_to_get_it(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.forbids = True
    async with store(server, tmp_path) as leases:
        with pytest.raises(MeshError, match="does not let this account use the Lease"):
            await leases.read()


async def test_a_server_that_fails_or_is_away_is_asked_again(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with store(server, tmp_path) as leases:
        server.is_away = True
        with pytest.raises(MeshError, match="API server refuses the Lease"):
            await leases.read()
        server.is_away = False
        assert await leases.read() is None
        # Another token is taken with another connection.
        config = server.kubeconfig(tmp_path)
        config.write_text(config.read_text().replace(TOKEN, "stale"))
        leases._made_at = 0.0
        with pytest.raises(MeshError, match="API server refuses"):
            await leases.read()
        server.kubeconfig(tmp_path)
        assert await leases.read() is None
    async with store(server, tmp_path) as leases:
        file = server.kubeconfig(tmp_path)
        file.write_text(file.read_text().replace(server.url, "https://127.0.0.1:9"))
        with pytest.raises(MeshError, match="cannot be reached"):
            await leases.read()


def test_a_moment_is_written_with_microseconds() -> None:
    text = module._now()
    assert len(text) == len("2026-11-30T12:00:00.000000Z")
    assert text.endswith("Z")
