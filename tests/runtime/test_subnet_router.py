"""What a node does for the networks behind it; with real ones: tests/interop."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshwg.errors import NotPermitted
from meshwg.routeoptions import RouteOptions, parse_route
from meshwg.runtime import subnet_router
from meshwg.runtime.forwarding import Forwarding
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.subnet_router import NOT_FORWARDED, NOT_PROBED, SubnetRouter
from tests.node.stage import Stage

SITE = "10.1.0.0/24"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    with closing(StateDirectory(tmp_path / "state")) as directory:
        yield directory


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to forward, and to send echo requests."""

    async def nothing(*_: object) -> bool:
        return False

    async def refuse(*_: object) -> None:
        raise NotPermitted("Forwarding cannot be switched on")

    def no_probe(*_: object) -> None:
        raise NotPermitted("This system permits no echo requests")

    monkeypatch.setattr(Forwarding, "recover", nothing)
    monkeypatch.setattr(Forwarding, "enable", refuse)
    monkeypatch.setattr(subnet_router, "LanProbe", no_probe)


def test_what_cannot_be_forwarded_is_said_and_peers_go_elsewhere(
    state: StateDirectory,
) -> None:
    async def work() -> None:
        stage, router = a_router(state, parse_route(f"{SITE},probe=10.1.0.9"))
        await router.start()
        router.want((), [SITE])
        health = {each.code: each.text for each in stage.node.health}
        assert "cannot be switched on" in health[NOT_FORWARDED]
        assert "permits no echo requests" in health[NOT_PROBED]
        assert stage.node.own_routes.dead == (SITE,)
        await router.close()

    asyncio.run(work())


def test_a_hub_that_cannot_forward_does_not_start(state: StateDirectory) -> None:
    async def work() -> None:
        _, router = a_router(state, is_hub=True)
        with pytest.raises(NotPermitted):
            await router.start()
        await router.close()

    asyncio.run(work())


def test_only_what_is_approved_is_forwarded_to(state: StateDirectory) -> None:
    async def work() -> None:
        mapped = parse_route("192.168.1.0/24=10.201.1.0/24")
        _, router = a_router(state, parse_route(SITE), mapped)
        router.want((), ["10.201.1.0/24"])
        assert router.approved() == (mapped,)
        await router.close()

    asyncio.run(work())


def test_nobody_is_told_where_there_is_nothing_to_leave(state: StateDirectory) -> None:
    async def work() -> None:
        _, router = a_router(state)
        await router.leave()
        await router.close()

    asyncio.run(work())


def a_router(
    state: StateDirectory, *routes: RouteOptions, is_hub: bool = False
) -> tuple[Stage, SubnetRouter]:
    stage = Stage()
    router = SubnetRouter(
        stage.node,
        "meshwg-none0",
        state,
        lambda: None,
        lambda: routes,
        mtu=1420,
        is_hub=is_hub,
        fwmark=0,
    )
    return stage, router
