"""The administration of plain WireGuard peers over HTTP, and what they fetch."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import Approve, CreateAuthKey, Join, Remove
from coordinator.runtime import peeradmin
from coordinator.runtime.server import CoordinatorProcess, Foundation
from tests.coordinator.programs import running

NAT = {
    "public": "203.0.113.9:41641",
    "mapping": "none",
    "filtering": "endpoint-independent",
}


class Served:
    """A coordinator with a hub, and its administration."""

    def __init__(
        self,
        process: CoordinatorProcess,
        foundation: Foundation,
        session: aiohttp.ClientSession,
    ) -> None:
        self.process = process
        self._bearer = {"Authorization": f"Bearer {foundation.admin_token}"}
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and JSON of the answer to the administrator."""
        async with self._session.request(
            method, self.process.public.url + path, json=body, headers=self._bearer
        ) as response:
            return response.status, await response.json()

    async def fetch(
        self, path: str, **headers: str
    ) -> tuple[int, str, Mapping[str, str]]:
        """Return status, text and headers of the answer to anybody."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.get(
            self.process.public.url + path, headers=named
        ) as response:
            return response.status, await response.text(), response.headers


@pytest.fixture
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(peeradmin, "FAILURE_DELAY", 0.0)
    async with running(tmp_path) as (process, foundation):
        worker = process._worker
        text, key = new_auth_key(
            lambda size: b"k" * size,
            reusable=False,
            ephemeral=False,
            created=0.0,
            lifetime=1e10,
        )
        await worker.perform(CreateAuthKey(key))
        nat = json.dumps({"ipv4": NAT})
        await worker.perform(
            Join("hub's key", "s", "h", "hub", str(text), role="hub", nat=nat)
        )
        await worker.perform(Approve("hub", "hub"))
        async with aiohttp.ClientSession() as session:
            yield Served(process, foundation, session)


async def test_peers_come_and_go(served: Served) -> None:
    status, added = await served.ask("POST", "/v1/peers", {"name": "Phone"})

    assert status == 201
    assert added["schema"] == 1
    assert "\nPrivateKey = " in added["config"]
    assert "▀" in added["qr"]
    assert added["url"] is None
    peer = added["peer"]
    assert (peer["name"], peer["hub"]) == ("phone", "hub")
    everybody = {"schema": 1, "peers": [peer]}
    assert await served.ask("GET", "/v1/peers") == (200, everybody)
    status, shown = await served.ask("GET", "/v1/peers/phone")
    assert (status, shown["peer"], shown["qr"]) == (200, peer, "")
    assert "\nPrivateKey" not in shown["config"]
    answer = {"schema": 1, "peer": peer}
    assert await served.ask("DELETE", "/v1/peers/phone") == (200, answer)
    assert await served.ask("GET", "/v1/peers") == (200, {"schema": 1, "peers": []})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/peers/hub", None, 404),
        ("DELETE", "/v1/peers/nobody", None, 404),
        ("POST", "/v1/peers", {}, 400),
        ("POST", "/v1/peers", {"name": 1}, 400),
        ("POST", "/v1/peers", {"name": "x", "endpoint": "a b"}, 400),
        ("POST", "/v1/peers", {"name": "x", "tags": "mobile"}, 400),
        ("POST", "/v1/peers", {"name": "x", "tags": [1]}, 400),
        ("POST", "/v1/peers", {"name": "x", "public_key": "short"}, 409),
        ("POST", "/v1/peers", {"name": "x", "hub": "nobody"}, 404),
        ("POST", "/v1/peers", {"name": "hub"}, 409),
        ("POST", "/v1/peers", {"name": "x", "full_tunnel": True}, 409),
    ],
)
async def test_what_is_wrong_is_explained(
    served: Served, method: str, path: str, body: Any, status: int
) -> None:
    got, answer = await served.ask(method, path, body)

    assert got == status
    assert answer["error"]


async def test_a_peer_whose_hub_has_gone_has_no_configuration(served: Served) -> None:
    await served.ask("POST", "/v1/peers", {"name": "phone"})

    await served.process._worker.perform(Remove("hub"))

    status, answer = await served.ask("GET", "/v1/peers/phone")
    assert status == 409
    assert "no member any more" in answer["error"]


async def test_a_router_fetches_what_wg_takes_by_its_own_secret(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = served.process._administration.mesh
    monkeypatch.setattr(mesh, "address", "https://mesh.example.org")
    _, added = await served.ask("POST", "/v1/peers", {"name": "router"})
    path = added["url"].removeprefix("https://mesh.example.org")

    status, text, headers = await served.fetch(path)

    assert status == 200
    assert text.startswith("[Peer]\nPublicKey = hub's key\n")
    assert text == added["config"].partition("\n\n")[2]
    assert headers["Cache-Control"] == "no-store"
    bare, _, secret = path.partition("?token=")
    assert (await served.fetch(bare, Authorization=f"Bearer {secret}"))[1] == text
    assert (await served.fetch(path, If_None_Match=headers["ETag"]))[0] == 304


async def test_without_its_secret_nobody_learns_even_who_there_is(
    served: Served,
) -> None:
    await served.ask("POST", "/v1/peers", {"name": "router"})
    answers = [
        await served.fetch(f"/v1/wg/{name}.conf{query}")
        for name in ("router", "hub", "nobody")
        for query in ("", "?token=", "?token=" + "0" * 36)
    ]

    assert {status for status, _, _ in answers} == {403}
    assert len({text for _, text, _ in answers}) == 1


async def test_a_removed_router_fetches_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = served.process._administration.mesh
    monkeypatch.setattr(mesh, "address", "https://m")
    _, added = await served.ask("POST", "/v1/peers", {"name": "router"})

    await served.ask("DELETE", "/v1/peers/router")

    status, _, _ = await served.fetch(added["url"].removeprefix("https://m"))
    assert status == 403


async def test_what_comes_in_clear_through_a_proxy_is_refused(served: Served) -> None:
    status, text, _ = await served.fetch(
        "/v1/wg/router.conf", X_Forwarded_For="192.0.2.1"
    )

    assert status == 403
    assert "use https" in text


async def test_a_wrong_secret_costs_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(peeradmin, "FAILURE_DELAY", 7.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await served.fetch("/v1/wg/router.conf?token=guess")

    assert 7.0 in waits
