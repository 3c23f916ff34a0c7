"""The mesh of a running coordinator, as its administration sees it."""

from pathlib import Path

from coordinator.mesh.operations import AddUser, Administered, Remove
from tests.coordinator.programs import make_token, running


async def test_what_is_changed_is_seen_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        mesh = process._administration.mesh
        await make_token(process, foundation)
        await mesh.perform(Administered(AddUser("alice"), "me", "192.0.2.1"))
        await mesh.perform(Administered(Remove("nobody"), "me"))

        assert [each.name for each in await mesh.users()] == ["alice"]
        assert len(await mesh.auth_keys()) == 1
        rows = await mesh.audit(after=1, limit=5)
        assert [(row.actor, row.address) for row in rows] == [("me", "192.0.2.1")]
        assert await mesh.api_token("0" * 12) is None
        for empty in (mesh.api_tokens, mesh.policies, mesh.flows):
            assert not await empty()
        assert await mesh.urls() == [process.public.url]
        assert (await mesh.registry()) is foundation.registry
        assert all(is_own for _, is_own in mesh.relays)
