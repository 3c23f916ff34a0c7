"""What the cluster is told, at once or when its API server is there again."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from meshwg.errors import MeshError
from meshwg.kubernetes.agent import SetCondition, Tell
from meshwg.runtime.kubernetes import clusterreports as module
from meshwg.runtime.kubernetes.api import ClusterApi
from meshwg.runtime.kubernetes.clusterreports import MAX_UNTOLD, ClusterReports
from tests.kubernetes.apiserver import until


async def test_what_could_not_be_told_is_told_later_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.01)
    api = FakeApi()
    reports = ClusterReports(cast(ClusterApi, api), "n1")
    task = asyncio.create_task(reports.run())
    api.failures = 3
    reports.tell(Tell("NoPodCIDR", "There is none"))
    reports.set_condition(SetCondition(True, "NoPodCIDR", "There is none"))
    await until(lambda: bool(api.events), 30)
    task.cancel()
    assert [each["reason"] for each in api.events] == ["NoPodCIDR"]
    assert len(api.patches) == 1


async def test_of_conditions_only_the_last_one_counts() -> None:
    api = FakeApi()
    reports = ClusterReports(cast(ClusterApi, api), "n1")
    reports.set_condition(SetCondition(True, "NoPodCIDR", "There is none"))
    reports.set_condition(SetCondition(False, "MeshReady", "There is one"))
    await reports.flush()
    await reports.flush()
    (patch,) = api.patches
    assert patch["status"]["conditions"][0]["reason"] == "MeshReady"


async def test_only_so_many_events_wait() -> None:
    api = FakeApi()
    reports = ClusterReports(cast(ClusterApi, api), "n1")
    for number in range(100):
        reports.tell(Tell("R", f"{number}"))
    await reports.flush()
    assert [each["message"] for each in api.events] == [
        f"{number}" for number in range(100 - MAX_UNTOLD, 100)
    ]


async def test_whoever_flushes_hears_that_the_api_server_is_away() -> None:
    api = FakeApi()
    api.failures = 1
    reports = ClusterReports(cast(ClusterApi, api), "n1")
    reports.tell(Tell("R", "T"))
    with pytest.raises(MeshError):
        await reports.flush()
    await reports.flush()
    assert len(api.events) == 1


class FakeApi:
    """An API server that may fail."""

    def __init__(self) -> None:
        self.failures = 0
        self.patches: list[Mapping[str, Any]] = []
        self.events: list[Mapping[str, Any]] = []

    async def patch_status(self, patch: Mapping[str, Any]) -> None:
        self._may_fail()
        self.patches.append(patch)

    async def put_event(self, event: Mapping[str, Any]) -> None:
        self._may_fail()
        self.events.append(event)

    def _may_fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise MeshError("The API server cannot be reached")
