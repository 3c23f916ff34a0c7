"""A daemon that is down answers, and carries nothing."""

import asyncio
import json
from pathlib import Path

import pytest

from meshwg.cli.client import DaemonClient
from meshwg.config import NodeConfig
from meshwg.errors import MeshError, NotJoined
from meshwg.node.trust import Pins, Trust
from meshwg.runtime import standby as module
from meshwg.runtime.standby import DOWN, Standby
from meshwg.runtime.state import StateDirectory, StoredMembership


async def test_it_says_that_it_is_down(tmp_path: Path) -> None:
    standby = a_standby(tmp_path)

    report = json.loads(b"".join(standby.status()))

    assert report["self"]["state"] == "down"
    assert report["self"]["coordinator"]["error"] == DOWN
    assert (report["peers"], report["health"]) == ([], [])
    with pytest.raises(MeshError, match="'meshwg up' connects it"):
        standby.ping({})
    with pytest.raises(MeshError, match="'meshwg up' connects it"):
        standby.why({"target": "bob"})
    with pytest.raises(MeshError, match="'meshwg up' connects it"):
        await standby.netcheck({})


async def test_it_ends_when_the_node_is_to_be_up(tmp_path: Path) -> None:
    standby = a_standby(tmp_path)
    running = asyncio.create_task(standby.run())
    client = DaemonClient(str(tmp_path / "run" / "sock"))
    await standby.listens.wait()

    await asyncio.to_thread(client.post, "/v1/down")
    assert not running.done()
    await asyncio.to_thread(client.post, "/v1/up")
    await asyncio.wait_for(running, 10)

    assert standby.goes_up
    assert not (tmp_path / "down").exists()


async def test_it_shows_whose_keys_were_pinned(tmp_path: Path) -> None:
    standby = a_standby(tmp_path)
    pins = Trust(Pins(networks=("100.64.0.0/16",))).to_json()
    (tmp_path / "trust.json").write_bytes(pins)
    assert standby.trust()["networks"] == ["100.64.0.0/16"]
    with pytest.raises(MeshError, match="'meshwg up'"):
        standby.accept({"name": "bob"})


async def test_it_uses_no_exit_and_can_forget_the_one_it_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standby, told = a_standby(tmp_path), []

    async def let_out(interface: str, state: StateDirectory) -> dict[str, str]:
        told.append(interface)
        return {"was": "ams"}

    monkeypatch.setattr(module, "let_out", let_out)

    assert standby.exits()["using"] is None
    with pytest.raises(MeshError, match="'meshwg up' connects it"):
        await standby.use_exit({"name": "ams"})
    with pytest.raises(MeshError, match="is down"):
        standby.hold_route({"route": "10.60.0.10/32", "seconds": 3.0})
    with pytest.raises(MeshError, match="is down"):
        await standby.use_lease({"prefix": "10.60.0.10/32"})
    assert await standby.exit_off() == {"was": "ams"}
    assert told == ["meshwg0"]


async def test_what_it_offers_may_be_changed_for_when_it_is_up(tmp_path: Path) -> None:
    standby = a_standby(tmp_path)

    added = standby.add_route({"route": "10.1.0.0/16,priority=5"})

    assert (added["prefix"], added["state"]) == ("10.1.0.0/16", "withdrawn")
    assert standby.routes()["own"] == [added]
    assert standby.remove_route({"route": "10.1.0.0/16"}) == {"prefix": "10.1.0.0/16"}
    assert standby.routes()["own"] == []
    with pytest.raises(MeshError, match="host bits"):
        standby.add_route({"route": "10.1.0.1/16"})


async def test_it_can_leave_the_mesh(tmp_path: Path) -> None:
    standby = a_standby(tmp_path)

    assert standby.leave() == {"told": False}

    assert not standby.goes_up
    assert not (tmp_path / "membership.json").exists()


async def test_without_a_mesh_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(NotJoined):
        Standby(NodeConfig(), StateDirectory(tmp_path))


def a_standby(directory: Path) -> Standby:
    state = StateDirectory(directory)
    state.save_membership(StoredMembership("http://192.0.2.9:8443", bytes([9]) * 32))
    state.set_down(True)
    config = NodeConfig(state_dir=directory, control_socket=directory / "run" / "sock")
    return Standby(config, state)
