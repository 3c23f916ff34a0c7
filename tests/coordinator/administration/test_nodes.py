"""Nodes, what they offer, and decisions on it."""

import asyncio
import os
import time
from typing import Any

import pytest

from coordinator.mesh.operations import Join, MarkOffline
from coordinator.store.store import MeshConfig, Store
from meshwg.keys import PrivateKey, format_key
from meshwg.wire.token import JoinToken
from tests.coordinator.administration.meshes import Office
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


def test_a_node_is_shown_by_its_name_or_its_key() -> None:
    office = Office()
    office.join("k", "web")

    assert office.ask("show-node", node="web") == office.ask("show-node", node="k")
    assert office.problem("show-node", node="nobody").status == 404


def test_a_nodes_tags_change_and_its_owner_stays() -> None:
    office = Office()
    office.join("k", "web")
    office.ask("add-user", user="alice")
    office.ask("change-node", node="web", body={"owner": "alice"})

    body = {"tags": ["db", "db"]}
    node = office.ask("change-node", node="web", body=body).record["node"]

    assert (node["owner"], node["tags"]) == ("alice", ["db"])


@pytest.mark.parametrize("body", [{}, {"name": "x", "tags": []}, {"name": None}])
def test_a_change_is_of_the_name_or_of_the_rest(body: Any) -> None:
    office = Office()
    office.join("k", "web")
    assert office.problem("change-node", node="web", body=body).status == 400


def test_the_state_of_a_node_is_not_that_it_is_there() -> None:
    office = Office()
    office.join("k", "web")
    seen = office.ask("show-node", node="web")
    office.do(MarkOffline(frozenset({"home"})))

    now = office.ask("show-node", node="web")

    assert seen.record["node"]["online"] is not now.record["node"]["online"]
    assert seen.etag == now.etag


def test_a_decision_changes_the_state_of_its_node() -> None:
    office = Office()
    office.join("k", "web")
    before = office.ask("show-node", node="web").etag

    decided = office.ask("approve-route", body={"node": "web", "prefix": "exit"})

    assert decided.record["route"]["state"] == "withdrawn"
    assert decided.etag not in ("", before)
    assert office.ask("show-node", node="web").etag == decided.etag


def test_nodes_and_routes_come_in_pages() -> None:
    office = Office()
    for name in ("a", "b", "c"):
        office.join(f"key of {name}", name)
        office.ask("approve-route", body={"node": name, "prefix": "exit"})
    for what, word in (("list-nodes", "nodes"), ("list-routes", "routes")):
        first = office.ask(what, query={"limit": "2"}).record
        query = {"limit": "2", "cursor": first["next"]}
        last = office.ask(what, query=query).record
        assert [len(first[word]), len(last[word]), last["next"]] == [2, 1, None]
