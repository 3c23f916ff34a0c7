"""What a node does for those of its cluster that still run flannel."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshwg.errors import ConfigError
from meshwg.health import Health
from meshwg.kubernetes.agent import Tell
from meshwg.kubernetes.flannel import CODE, MEMBER
from meshwg.runtime.host import NodeHost
from meshwg.runtime.kubernetes import flannelside as module
from meshwg.runtime.kubernetes.api import ApiAccess, ClusterApi
from meshwg.runtime.kubernetes.flannelside import FlannelSettings, FlannelSide
from meshwg.staticpeer import StaticPeer
from tests.kubernetes.apiserver import FakeApiServer, until
from tests.kubernetes.cluster import PODS, node_object

OWN_KEY, THEIR_KEY = f"{'A' * 43}=", f"{'B' * 42}A="
THEIR_PODS = "10.244.2.0/24"
PREFIX = "flannel.alpha.coreos.com/"
PATIENCE = 30.0
"""Seconds; it takes them only where something is wrong."""


class StandInHost:
    """A host, as far as this side of it goes."""

    interface = "meshwg0"

    def __init__(self) -> None:
        self.static: tuple[StaticPeer, ...] = ()
        self.approved: tuple[str, ...] = (PODS,)
        self.entries: list[SimpleNamespace] = []
        self.turns = 0
        self.node = SimpleNamespace(
            public_key=OWN_KEY,
            health=Health(),
            control=SimpleNamespace(peers=self),
            members=SimpleNamespace(
                mesh=("100.64.0.0/16",),
                own_routes=lambda: self.approved,
                set_static=self._set_static,
            ),
        )

    @property
    def peers(self) -> list[SimpleNamespace]:
        """The members, as a netmap has them."""
        return self.entries

    def turn(self) -> None:
        self.turns += 1

    def _set_static(self, wanted: tuple[StaticPeer, ...], now: float) -> None:
        self.static = wanted


class Side:
    """A node with an API server, and what it told the firewall."""

    def __init__(self, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = api
        self.host = StandInHost()
        self.rules: list[str] = []
        self.told: list[Tell] = []
        self.refusal: ConfigError | None = None
        monkeypatch.setattr(module, "nft", self._nft)
        monkeypatch.setattr(module, "LOOK", 0.02)
        monkeypatch.setattr(module, "MIN_PAUSE", 0.02)

    async def _nft(self, rules: str) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.rules.append(rules)
        return ""

    @asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[None]:
        access = ApiAccess(self.api.kubeconfig(directory))
        side = FlannelSide(
            FlannelSettings(),
            ClusterApi(access, "n1"),
            cast(NodeHost, self.host),
            "n1",
            self.told.append,
        )
        side.start()
        try:
            yield
        finally:
            side.close()

    def said(self) -> dict[str, str]:
        """Return the annotations of the own node."""
        found: dict[str, str] = self.api.nodes["n1"]["metadata"].get("annotations", {})
        return found

    def names(self) -> list[str]:
        return [each.name for each in self.host.static]


@pytest.fixture
async def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Side]:
    async with FakeApiServer(tmp_path) as api:
        api.put(node_object(PODS))
        yield Side(api, monkeypatch)


async def test_each_follows_the_other(side: Side, tmp_path: Path) -> None:
    side.api.put(flannel_node())
    async with side.running(tmp_path):
        await until(lambda: side.names() == ["flannel-n2"], PATIENCE)
        await until(lambda: side.said().get(MEMBER) == OWN_KEY, PATIENCE)
        await until(lambda: THEIR_PODS in "".join(side.rules), PATIENCE)
        side.api.remove("n2")
        await until(lambda: side.names() == [], PATIENCE)
    assert side.said()[f"{PREFIX}public-ip"] == "192.168.1.7"
    assert side.host.turns >= 2


async def test_a_node_that_starts_flannel_later_is_seen(
    side: Side, tmp_path: Path
) -> None:
    async with side.running(tmp_path):
        await until(lambda: side.api.watches == 1, PATIENCE)
        side.api.put(flannel_node())
        await until(lambda: side.names() == ["flannel-n2"], PATIENCE)


async def test_before_the_mesh_routes_its_pods_nobody_is_told_of_the_node(
    side: Side, tmp_path: Path
) -> None:
    side.host.approved = ()
    side.api.put(flannel_node())
    async with side.running(tmp_path):
        await until(lambda: side.names() == ["flannel-n2"], PATIENCE)
        assert side.said() == {}
        side.host.approved = (PODS,)
        await until(lambda: MEMBER in side.said(), PATIENCE)


async def test_what_somebody_else_writes_over_it_is_put_right(
    side: Side, tmp_path: Path
) -> None:
    async with side.running(tmp_path):
        await until(lambda: MEMBER in side.said(), PATIENCE)
        raw = node_object(PODS)
        raw["metadata"]["annotations"] = {f"{PREFIX}backend-type": "vxlan"}
        side.api.put(raw)
        await until(lambda: side.said().get(MEMBER) == OWN_KEY, PATIENCE)
    assert side.said()[f"{PREFIX}backend-type"] == "wireguard"


async def test_a_node_that_is_a_member_is_no_static_peer(
    side: Side, tmp_path: Path
) -> None:
    side.api.put(flannel_node())
    async with side.running(tmp_path):
        await until(lambda: side.names() == ["flannel-n2"], PATIENCE)
        side.host.entries = [
            SimpleNamespace(public_key=THEIR_KEY, routes=(THEIR_PODS,))
        ]
        await until(lambda: side.names() == [], PATIENCE)


async def test_a_node_with_a_network_of_the_mesh_is_told_of(
    side: Side, tmp_path: Path
) -> None:
    side.host.entries = [SimpleNamespace(public_key="k", routes=(THEIR_PODS,))]
    side.api.put(flannel_node())
    async with side.running(tmp_path):
        await until(
            lambda: CODE in [each.code for each in side.host.node.health], PATIENCE
        )
    assert side.names() == []
    (told,) = side.told
    assert told.reason == "FlannelNodeRefused"
    assert "n2" in told.text


async def test_while_the_api_server_is_away_all_stays(
    side: Side, tmp_path: Path
) -> None:
    side.api.put(flannel_node())
    async with side.running(tmp_path):
        await until(lambda: side.names() == ["flannel-n2"], PATIENCE)
        side.api.is_away = True
        side.api.drop_watches()
        asked = len(side.api.asked)
        await until(lambda: len(side.api.asked) > asked + 1, PATIENCE)
        assert side.names() == ["flannel-n2"]


async def test_what_the_firewall_refuses_is_said_once(
    side: Side, tmp_path: Path
) -> None:
    side.refusal = ConfigError("nftables refuses the rules")
    async with side.running(tmp_path):
        await until(lambda: side.told != [], PATIENCE)
        side.refusal = None
        await until(lambda: side.rules != [], PATIENCE)
    assert side.told == [Tell("FlannelFailed", "nftables refuses the rules")]


def flannel_node() -> dict[str, Any]:
    raw = node_object(THEIR_PODS, name="n2")
    raw["metadata"]["annotations"] = {
        f"{PREFIX}backend-data": json.dumps({"PublicKey": THEIR_KEY}),
        f"{PREFIX}backend-type": "wireguard",
        f"{PREFIX}kube-subnet-manager": "true",
        f"{PREFIX}public-ip": "198.51.100.2",
    }
    return raw
