"""What a node's files and settings say of who may reach what."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshwg.config import NodeConfig
from meshwg.health import Health
from meshwg.node.access import AccessControl
from meshwg.runtime.access import set_up_access

NOW = 5.0
GUARD = '[[allow]]\nfrom = ["any"]\nto = ["self"]\nports = ["tcp/22"]\n'


@pytest.fixture
def access() -> AccessControl:
    datapath: Any = SimpleNamespace(set_filter=lambda _: None)
    return AccessControl(datapath, Health(), NOW)


def set_up(access: AccessControl, config: NodeConfig, *, has_lost: bool) -> None:
    membership: Any = SimpleNamespace(has_lost_netmap=has_lost)
    set_up_access(access, config, membership, NOW)


def test_without_any_of_it_everything_passes_and_flows_are_told(
    access: AccessControl,
) -> None:
    set_up(access, NodeConfig(), has_lost=False)

    assert not access.is_on
    assert access.filter.sightings.is_wanted


def test_there_is_a_guard_and_flows_are_kept_where_that_is_wanted(
    access: AccessControl, tmp_path: Path
) -> None:
    guard = tmp_path / "guard.toml"
    guard.write_text(GUARD)

    set_up(access, NodeConfig(guard=guard, flow_reports=False), has_lost=False)

    assert access.status()["guard"] is True
    assert not access.filter.sightings.is_wanted


def test_nothing_passes_where_the_cached_netmap_was_damaged(
    access: AccessControl,
) -> None:
    set_up(access, NodeConfig(), has_lost=True)

    assert access.is_on
    assert access.status()["default"] == "deny"
