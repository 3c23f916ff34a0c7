"""The coordinator's key: shown, rotated and retired, beside a server that runs."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.control.client import ControlState
from meshwg.control.events import AuthorityChanged
from meshwg.keys import format_key
from meshwg.wire.token import JoinToken
from tests.coordinator.live import LiveNode
from tests.coordinator.programs import Program, program


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    with program(tmp_path / "data") as made:
        yield made


async def test_a_running_server_moves_its_nodes_to_the_new_key(
    server: Program,
) -> None:
    token = await run(server, "token", "create", "--reusable")
    old = JoinToken.parse(token).coordinator_key
    alice = await LiveNode(token, "alice").joined()

    shown = json.loads(await run(server, "key", "rotate", "--json"))

    assert shown["former_key"] == format_key(old)
    await alice.until(lambda: told(alice) == [(shown["public_key"], None)])
    assert alice.client.state is ControlState.CONNECTED
    # By then the server takes either token.
    fresh = await run(server, "token", "create")
    assert format_key(JoinToken.parse(fresh).coordinator_key) == shown["public_key"]
    bob = await LiveNode(fresh, "bob").joined()
    carol = await LiveNode(token, "carol").joined()
    for node in (alice, bob, carol):
        await node.vanish()


async def test_a_new_key_outlasts_a_restart_and_the_old_one_is_retired(
    server: Program,
) -> None:
    before = json.loads(await run(server, "key", "show", "--json"))
    assert before["former_key"] is None
    assert "no" in (await fail(server, "key", "retire")).lower()
    said = await run(server, "key", "rotate")
    assert "Make a new backup" in said
    assert "still served" in await fail(server, "key", "rotate")

    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await run(server, "node", "list")
    said = await run(server, "key", "retire")
    assert "join --new-key" in said
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    after = json.loads(await run(server, "key", "show", "--json"))
    assert after["public_key"] != before["public_key"]
    assert after["former_key"] is None


def told(node: LiveNode) -> list[tuple[str, bytes | None]]:
    """Return the last that the node was told of the coordinator's keys."""
    found = [each for each in node.events if isinstance(each, AuthorityChanged)]
    return [(format_key(each.key), each.former) for each in found[-1:]]


async def run(server: Program, *arguments: str) -> str:
    done = await asyncio.to_thread(server.run, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def fail(server: Program, *arguments: str) -> str:
    done = await asyncio.to_thread(server.run, *arguments)
    assert done.returncode == 1
    return done.stderr
