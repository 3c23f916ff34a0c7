"""The program nft: what it prints, and what it refuses."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime.nft import list_ruleset, nft
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))


def test_rules_are_set_and_read(host: Host) -> None:
    async def work() -> None:
        await nft("add table inet mine; add chain inet mine one")
        assert "chain one" in await nft("list ruleset")
        entries = json.loads(await list_ruleset())["nftables"]
        assert [each["table"]["name"] for each in entries if "table" in each] == [
            "mine"
        ]

    run(host, work)


def test_what_is_refused_is_said(host: Host) -> None:
    with pytest.raises(ConfigError, match="nftables refuses the hub's rules"):
        run(host, lambda: nft("dance"))


def test_without_the_program_its_package_is_named(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="install the package nftables"):
        run(host, list_ruleset)


def run(host: Host, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    host.call(lambda: asyncio.run(work()))
