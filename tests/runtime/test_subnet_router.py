"""What a node does for the networks behind it; with real ones: tests/interop."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshwg.errors import NotPermitted
from meshwg.forwarding import Forwarded
from meshwg.node.ownroutes import DEAD
from meshwg.routeoptions import RouteOptions, parse_route
from meshwg.runtime import subnet_router
from meshwg.runtime.forwarding import Forwarding
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.subnet_router import NOT_FORWARDED, NOT_PROBED, SubnetRouter
from tests.node.stage import Stage

SITE = "10.1.0.0/24"
MESH = ("100.64.0.0/16",)


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
    monkeypatch.setattr(Forwarding, "check", refuse)
    monkeypatch.setattr(Forwarding, "want", refuse)
    monkeypatch.setattr(subnet_router, "LanProbe", no_probe)


def test_what_cannot_be_forwarded_is_said_and_peers_go_elsewhere(
    state: StateDirectory,
) -> None:
    async def work() -> None:
        stage, router = a_router(state, parse_route(f"{SITE},probe=10.1.0.9"))
        await router.start()
        router.want((), [SITE])
        await settled(router)
        health = {each.code: each.text for each in stage.node.health}
        assert "cannot be switched on" in health[NOT_FORWARDED]
        assert "permits no echo requests" in health[NOT_PROBED]
        assert stage.node.own_routes.dead == (SITE,)
        # No probe has said so.
        assert DEAD not in health
        await router.close()

    asyncio.run(work())


def test_a_hub_that_cannot_forward_does_not_start(state: StateDirectory) -> None:
    async def work() -> None:
        _, router = a_router(state, may_be_hub=True)
        with pytest.raises(NotPermitted):
            await router.start()
        await router.close()

    asyncio.run(work())


def test_nothing_is_forwarded_before_it_is_approved_nor_after(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Forwarded] = []

    async def note(_: Forwarding, forwarded: Forwarded) -> None:
        wanted.append(forwarded)

    async def permit(_: Forwarding) -> None:
        pass

    monkeypatch.setattr(Forwarding, "check", permit)
    monkeypatch.setattr(Forwarding, "want", note)

    async def work() -> None:
        _, router = a_router(state, parse_route(SITE), may_be_hub=True)
        await router.start()
        assert wanted == []
        for role, networks in ((False, ()), (True, ()), (False, (SITE,)), (False, ())):
            router.want(MESH, networks, is_hub=role)
        await settled(router)
        await router.close()

    asyncio.run(work())

    assert [bool(each) for each in wanted] == [False, True, True, False]
    assert [each.members for each in wanted] == [False, True, False, False]
    assert {each.mesh for each in wanted} == {MESH}


def test_what_was_refused_at_the_start_is_in_order_once_it_is_forwarded(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        stage, router = a_router(state, parse_route(SITE))
        await router.start()
        assert [each.code for each in stage.node.health] == [NOT_FORWARDED]

        async def permit(*_: object) -> None:
            pass

        monkeypatch.setattr(Forwarding, "want", permit)
        router.want(MESH, [SITE])
        await settled(router)
        assert list(stage.node.health) == []
        assert stage.node.own_routes.dead == ()
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


async def settled(router: SubnetRouter) -> None:
    """Wait until it has done what it was told."""
    await router._tasks.wait()


def a_router(
    state: StateDirectory, *routes: RouteOptions, may_be_hub: bool = False
) -> tuple[Stage, SubnetRouter]:
    stage = Stage()
    router = SubnetRouter(
        stage.node,
        "meshwg-none0",
        state,
        lambda: None,
        lambda: routes,
        mtu=1420,
        may_be_hub=may_be_hub,
        fwmark=0,
    )
    return stage, router
