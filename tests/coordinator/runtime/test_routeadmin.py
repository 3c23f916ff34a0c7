"""What nodes offer, and decisions on it, over HTTP."""

import asyncio
import os
import time
from typing import Any

import pytest

from coordinator.mesh.operations import Join
from coordinator.store.store import MeshConfig, Store
from meshwg.keys import PrivateKey, format_key
from meshwg.wire.token import JoinToken
from tests.coordinator.programs import Program
from tests.coordinator.runtime.test_admin import request

SITE = "10.1.0.0/16"


def test_offers_are_listed_approved_and_refused(server: Program) -> None:
    bearer = (server.data_dir / "admin.token").read_text().strip()
    router = join(server, bearer)

    while not request(server, "GET", "/v1/routes", bearer)[1]["routes"]:
        # The server notices within a second what others have written.
        time.sleep(0.05)
    _, listed = request(server, "GET", "/v1/routes", bearer)
    assert shown(listed["routes"]) == {SITE: "advertised", "exit": "advertised"}
    for item, state in ((SITE, "approved"), ("exit", "approved"), ("hub", "approved")):
        body = {"node": "router", "prefix": item}
        status, answer = request(server, "POST", "/v1/routes/approve", bearer, body)
        assert (status, answer["route"]["state"]) == (200, state)
        assert answer["route"]["by"] == "administration over HTTP"
    _, nodes = request(server, "GET", "/v1/nodes", bearer)
    (node,) = nodes["nodes"]
    assert (node["routes"], node["exit"], node["role"]) == ([SITE], True, "hub")

    body = {"node": router, "prefix": SITE}
    status, answer = request(server, "POST", "/v1/routes/refuse", bearer, body)
    assert (status, answer["route"]["state"]) == (200, "refused")
    _, audit = request(server, "GET", "/v1/audit", bearer)
    last = audit["rows"][-1]
    assert (last["action"], last["target"]) == ("refuse", f"{router} {SITE}")
    assert (last["before"]["approved"], last["after"]["approved"]) == (True, False)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"node": "nobody", "prefix": SITE}, 404),
        ({"node": "nobody", "prefix": "10.1.0.1/16"}, 400),
        ({"node": "nobody", "prefix": "2001:db8::%1/64"}, 400),
        ({"node": "nobody", "prefix": "0.0.0.0/1"}, 409),
        ({"node": "nobody"}, 400),
        ({"node": 5, "prefix": SITE}, 400),
    ],
)
def test_what_is_wrong_is_said(common: Program, body: Any, expected: int) -> None:
    bearer = (common.data_dir / "admin.token").read_text().strip()

    status, answer = request(common, "POST", "/v1/routes/approve", bearer, body)

    assert status == expected
    assert answer["error"]


def join(server: Program, bearer: str) -> str:
    """Let a node in that offers everything, as a member of the database."""
    _, token = request(server, "POST", "/v1/tokens", bearer, {})
    text = JoinToken.parse(token["token"]).auth_key
    key = PrivateKey.generate(os.urandom)
    operation = Join(
        format_key(key.public_bytes),
        "session",
        "home",
        "router",
        str(text),
        "hub",
        (SITE,),
        exit=True,
    )
    asyncio.run(perform(server, JoinToken.parse(token["token"]), operation))
    return operation.key


async def perform(server: Program, token: JoinToken, operation: Join) -> None:
    mesh = MeshConfig(format_key(token.coordinator_key), begins=False)
    url = f"sqlite:///{server.data_dir / 'coordinator.db'}"
    store = await Store.open(url, mesh, random=os.urandom)
    try:
        await store.load()
        await store.commit([operation], 1.0)
    finally:
        await store.close()


def shown(routes: list[dict[str, Any]]) -> dict[str, str]:
    return {each["prefix"]: each["state"] for each in routes}
