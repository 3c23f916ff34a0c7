"""The store, on SQLite and on PostgreSQL."""

import asyncio
import json
import os
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from coordinator.mesh.apitokens import ApiToken, ApiTokenText
from coordinator.mesh.etags import node_etag
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import (
    Accepted,
    Administered,
    CreateApiToken,
    Disconnect,
    Expire,
    Outdated,
    Refused,
    Remove,
    Rename,
    RevokeApiToken,
    RevokeAuthKey,
    SetUrl,
    Update,
)
from coordinator.store.engine import StoreError
from coordinator.store.store import MeshConfig, Store
from meshwg.errors import ConfigError
from meshwg.keys import format_key
from meshwg.wire.control import ErrorCode, unpack
from tests.coordinator.store.processes import CONFIG, Process, auth_key, join


async def test_what_was_committed_is_there_after_a_restart(
    process: Process, database_url: str
) -> None:
    key = await auth_key(process)
    await process.do(*(join(f"k{number}", key) for number in range(20)))
    await process.do(
        Rename("k1", "renamed"), Remove("k2"), Expire("k3"), Update("k4", "[1]", "{}")
    )
    await process.do(Disconnect("k5", "s-k5", left=False))
    again = await Process.start(database_url)
    assert again.registry.nodes == process.registry.nodes
    assert again.registry.networks == process.registry.networks
    assert again.registry.epoch == process.registry.epoch
    assert delta(again.history, 1) == delta(process.history, 1)
    await again.store.close()


async def test_a_single_use_key_is_used_up_for_all_processes(
    process: Process, other: Process
) -> None:
    key = await auth_key(process, reusable=False)
    (first,) = await process.do(join("a", key))
    (second,) = await other.do(join("b", key))
    assert isinstance(first, Accepted)
    assert isinstance(second, Refused)
    assert second.code is ErrorCode.TOKEN_USED


async def test_two_processes_never_give_one_name_or_address_twice(
    process: Process, other: Process
) -> None:
    key = await auth_key(process)
    batches = [
        (one, [join(f"{number}-{each}", key) for each in range(3)])
        for number, one in enumerate([process, other] * 6)
    ]

    async def work(one: Process) -> None:
        for who, batch in batches:
            if who is one:
                await one.do(*batch)

    await asyncio.gather(work(process), work(other))
    await process.look()
    await other.look()
    assert len(process.registry) == 36
    assert len(process.registry.names) == len(process.registry.numbers) == 36
    assert process.registry.nodes == other.registry.nodes
    assert process.history.full() != []
    assert process.history.version == other.history.version


async def test_a_process_learns_what_another_removed_and_renamed(
    process: Process, other: Process
) -> None:
    key = await auth_key(process)
    await process.do(join("a", key), join("b", key), join("c", key))
    await other.look()
    await process.do(Remove("a"))
    await process.do(Rename("b", "node"))
    (back,) = await process.do(join("a", key))
    await other.look()
    assert isinstance(back, Accepted)
    assert other.registry.nodes == process.registry.nodes
    assert delta(other.history, 0) == delta(process.history, 0)


async def test_an_operation_sees_what_another_process_did_before(
    process: Process, other: Process
) -> None:
    key = await auth_key(process)
    await process.do(join("a", key))
    (result,) = await other.do(Rename("a", "web"))
    assert isinstance(result, Accepted)
    (result,) = await process.do(Rename("a", "shop"))
    assert isinstance(result, Accepted)
    assert result.node is not None
    assert result.node.name == "shop"


@pytest.mark.parametrize("leave", [Remove("a"), Expire("a")])
async def test_a_network_passes_on_whoever_removes_its_owner(
    process: Process, other: Process, leave: Remove | Expire
) -> None:
    key, office = await auth_key(process), "10.77.1.0/24"
    process.store.approve_routes((office,))
    offers = [replace(join(each, key), routes=(office,)) for each in ("a", "b")]
    await process.do(*offers)
    # A command of the administration, which does not know what is approved.
    await other.do(leave)
    assert other.registry.nodes["b"].routes == ()
    await process.look()
    assert process.registry.nodes["b"].routes == (office,)
    version = process.registry.version
    await process.look()
    assert process.registry.version == version


async def test_a_failed_transaction_changes_nothing(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await auth_key(process, reusable=False)
    write = Store._write

    async def fail(self: Store, connection: Any, draft: Any) -> None:
        await write(self, connection, draft)
        await connection.execute(text("SELECT no_such_column FROM nodes"))

    monkeypatch.setattr(Store, "_write", fail)
    with pytest.raises(StoreError):
        await process.do(join("a", key))
    assert len(process.registry) == 0
    monkeypatch.undo()
    (result,) = await process.do(join("a", key))
    assert isinstance(result, Accepted)


async def test_auth_keys_are_listed_and_revoked(process: Process) -> None:
    key = await auth_key(process)
    (listed,) = await process.store.auth_keys()
    assert listed.number == key.partition(".")[0]
    (revoked,) = await process.do(RevokeAuthKey(listed.number))
    assert revoked.auth_key is not None
    assert revoked.auth_key.revoked
    (unknown,) = await process.do(RevokeAuthKey("ffffffffffff"))
    assert isinstance(unknown, Refused)
    assert unknown.code is ErrorCode.TOKEN_UNKNOWN
    (result,) = await process.do(join("a", key))
    assert isinstance(result, Refused)
    assert result.code is ErrorCode.TOKEN_REVOKED


async def test_only_hashes_of_auth_keys_are_stored(process: Process) -> None:
    key = await auth_key(process)
    (stored,) = await process.store.auth_keys()
    secret = key.partition(".")[2]
    assert secret not in repr(stored)
    assert secret not in stored.digest


async def test_api_tokens_are_kept_without_their_secrets_and_revoked(
    process: Process, other: Process
) -> None:
    clear = ApiTokenText.generate(os.urandom)
    token = ApiToken(
        clear.number, "x", clear.digest, "admin", ("nodes:read",), 1.5, 9.5, "me"
    )
    await process.do(CreateApiToken(token))

    assert await other.store.api_tokens() == [token]
    assert await other.store.api_token(clear.number) == token
    assert await other.store.api_token("x") is None
    (done,) = await other.do(RevokeApiToken(clear.number))
    assert done.api_token == replace(token, revoked=True)
    assert await process.store.api_token(clear.number) == done.api_token


async def test_two_administrators_at_two_processes_cannot_both_be_right(
    process: Process, other: Process
) -> None:
    key = await auth_key(process)
    await process.do(join("k", key))
    await other.look()
    (node,) = process.registry.nodes.values()
    seen = node_etag(node)

    (first,) = await process.do(Administered(Rename("k", "one"), "a", expected=seen))
    (second,) = await other.do(Administered(Rename("k", "two"), "b", expected=seen))

    assert isinstance(first, Accepted)
    assert isinstance(second, Outdated)
    assert [row.actor for row in await other.store.audit()] == ["a"]
    assert await other.store.audit(limit=0) == []


async def test_old_removals_are_forgotten_in_the_database(
    process: Process, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.store.store.MAX_TOMBSTONES", 5)
    key = await auth_key(process)
    for number in range(10):
        await process.do(join(f"k{number}", key))
        await process.do(Remove(f"k{number}"))
    again = await Process.start(database_url)
    assert len(again.history.since(10)) == 1
    assert delta(again.history, 19) == delta(process.history, 19)
    whole = again.history.full()
    assert again.history.since(3) == whole
    await again.store.close()


async def test_a_node_that_comes_back_is_no_longer_removed_after_a_restart(
    process: Process, database_url: str
) -> None:
    key = await auth_key(process)
    await process.do(join("a", key), join("b", key))
    await process.do(Remove("a"), Remove("b"))
    await process.do(join("a", key))
    again = await Process.start(database_url)
    assert delta(again.history, 1) == delta(process.history, 1)
    assert delta(again.history, 1)["removed"] == ["b"]
    await again.store.close()


async def test_the_mesh_url_is_kept(process: Process, other: Process) -> None:
    assert await other.store.mesh_url() == ""
    await process.do(SetUrl("http://192.0.2.1:8443"))
    assert await other.store.mesh_url() == "http://192.0.2.1:8443"


async def test_a_sign_of_life_is_seen_by_all(process: Process, other: Process) -> None:
    await process.store.beat("one")
    alive = await other.store.beat("two")
    assert alive == ({"one", "two"} if process.store.is_shared else {"two"})


async def test_a_database_of_another_coordinator_is_refused(
    process: Process, database_url: str
) -> None:
    with pytest.raises(ConfigError, match=r"coordinator\.key"):
        await Process.start(database_url, MeshConfig(format_key(bytes(32))))


async def test_a_database_follows_its_coordinator_to_another_key(
    process: Process, database_url: str
) -> None:
    new = format_key(bytes([9]) * 32)
    rotated = MeshConfig(new, former_key=CONFIG.coordinator_key)
    for config in (rotated, MeshConfig(new)):
        again = await Process.start(database_url, config)
        await again.store.close()
    with pytest.raises(ConfigError, match=r"coordinator\.key"):
        await Process.start(database_url, CONFIG)
    await process.store.change_key(CONFIG.coordinator_key)
    again = await Process.start(database_url, CONFIG)
    await again.store.close()


async def test_networks_can_be_changed_until_a_node_has_joined(
    process: Process, database_url: str
) -> None:
    wanted = MeshConfig(CONFIG.coordinator_key, "10.77.0.0/16", "fd77::/48")
    second = await Process.start(database_url, wanted)
    assert second.registry.networks.prefixes == ("10.77.0.0/16", "fd77::/48")
    key = await auth_key(second)
    await second.do(join("a", key))
    await second.store.close()
    other = MeshConfig(CONFIG.coordinator_key, "10.78.0.0/16")
    with pytest.raises(ConfigError, match=r"keep their addresses"):
        await Process.start(database_url, other)
    same = await Process.start(database_url, wanted)
    await same.store.close()


def delta(history: NetMapHistory, version: int) -> dict[str, Any]:
    """Return what a node at a version is told, in an order of its own."""
    (payload,) = history.since(version)
    message: dict[str, Any] = json.loads(unpack(payload, 1 << 20))
    message["changed"].sort(key=lambda peer: peer["public_key"])
    message["removed"].sort()
    return message
