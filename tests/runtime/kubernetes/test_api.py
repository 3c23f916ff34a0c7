"""What an agent hears of the API server, and what it tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.agent import SetCondition, Tell
from meshwg.kubernetes.clusternode import ClusterNode
from meshwg.kubernetes.objects import condition_patch, event
from meshwg.runtime.kubernetes import api as module
from meshwg.runtime.kubernetes.api import ApiAccess, ApiUnreachable, ClusterApi
from tests.kubernetes.apiserver import FakeApiServer, until
from tests.kubernetes.cluster import PODS, node_object

OTHERS = "10.244.2.0/24"
AT = "2026-11-30T12:00:00Z"
PATIENCE = 30.0
"""Seconds; it takes them only where something is wrong."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_PAUSE", 0.02)
    monkeypatch.setattr(module, "MAX_PAUSE", 0.05)


async def test_a_node_is_told_of_as_it_is_and_when_it_changes(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.put(node_object(PODS))
    async with watching(server, tmp_path) as heard:
        await heard.until(lambda: heard.networks == [(PODS,)])
        await heard.until(lambda: server.watches == 1)
        server.put(node_object(OTHERS))
        await heard.until(lambda: heard.networks[-1] == (OTHERS,))
        server.remove("n1")
        await heard.until(lambda: heard.networks[-1] is None)
        server.put(node_object(PODS, uid="u2"))
        await heard.until(lambda: heard.nodes[-1] is not None)
    assert heard.nodes[-1] is not None
    assert heard.nodes[-1].uid == "u2"


async def test_a_node_that_is_not_there_yet_is_waited_for(
    server: FakeApiServer, tmp_path: Path
) -> None:
    async with watching(server, tmp_path) as heard:
        await heard.until(lambda: heard.networks[:2] == [None, None])
        server.put(node_object(PODS))
        await heard.until(lambda: heard.networks[-1] == (PODS,))


async def test_an_api_server_that_is_away_is_no_news_of_the_node(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.put(node_object(PODS))
    async with watching(server, tmp_path) as heard:
        await heard.until(lambda: server.watches == 1)
        server.is_away = True
        server.drop_watches()
        await heard.until(lambda: heard.api.error is not None)
        count = len(server.asked)
        await heard.until(lambda: len(server.asked) > count + 3)
        assert heard.networks == [(PODS,)]
        server.is_away = False
        await heard.until(lambda: heard.api.error is None)
        await heard.until(lambda: heard.networks == [(PODS,), (PODS,)])


async def test_a_watch_that_says_nothing_for_long_is_begun_anew(
    server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SESSION", 0.3)
    server.put(node_object(PODS))
    async with watching(server, tmp_path) as heard:
        await heard.until(lambda: len(heard.nodes) >= 3)
    assert heard.api.error is None


async def test_conditions_and_events_arrive(
    server: FakeApiServer, tmp_path: Path
) -> None:
    server.put(node_object(PODS))
    api = ClusterApi(access(server, tmp_path), "n1")
    await api.patch_status(condition_patch(SetCondition(False, "Ready", "Yes"), AT))
    await api.put_event(event(Tell("NoPodCIDR", "None"), "n1", None, AT))
    (condition,) = server.nodes["n1"]["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("NetworkUnavailable", "False")
    assert server.events[0]["involvedObject"]["name"] == "n1"


async def test_what_the_api_server_refuses_is_one_kind_of_error(
    server: FakeApiServer, tmp_path: Path
) -> None:
    api = ClusterApi(access(server, tmp_path), "n9")
    with pytest.raises(ApiUnreachable, match="refuses: not found"):
        await api.patch_status(condition_patch(SetCondition(True, "R", "T"), AT))


async def test_an_api_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with FakeApiServer(tmp_path) as server:
        reach = access(server, tmp_path)
    api = ClusterApi(reach, "n1")
    with pytest.raises(ApiUnreachable, match="cannot be reached"):
        await api.put_event(event(Tell("R", "T"), "n1", None, AT))


def test_without_any_configuration_the_mend_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="--kubeconfig"):
        ApiAccess().read()


async def test_another_url_of_the_same_api_server_can_be_used(
    server: FakeApiServer, tmp_path: Path
) -> None:
    path = server.kubeconfig(tmp_path)
    url = server.url
    path.write_text(path.read_text().replace(url, "https://10.96.0.1:443"))
    server.put(node_object(PODS))
    api = ClusterApi(ApiAccess(path, url), "n1")
    await api.patch_status(condition_patch(SetCondition(False, "R", "T"), AT))
    assert len(server.patches) == 1


class Heard:
    """What an agent is told of its node."""

    def __init__(self, api: ClusterApi) -> None:
        self.api = api
        self.nodes: list[ClusterNode | None] = []

    @property
    def networks(self) -> list[tuple[str, ...] | None]:
        return [None if each is None else each.pod_networks for each in self.nodes]

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, PATIENCE)


@asynccontextmanager
async def watching(server: FakeApiServer, directory: Path) -> AsyncIterator[Heard]:
    """Watch the node for as long as the block lasts."""
    heard = Heard(ClusterApi(access(server, directory), "n1"))
    task = asyncio.create_task(heard.api.watch(heard.nodes.append))
    try:
        yield heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def access(server: FakeApiServer, directory: Path) -> ApiAccess:
    return ApiAccess(server.kubeconfig(directory))
