"""Requests that want a WebSocket, and those that were robbed of the wish."""

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from coordinator.runtime.upgrades import is_upgrade, upgrade_required

WISH = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_request_for_a_websocket_is_one() -> None:
    assert asks_for_one(WISH)


def test_without_the_header_it_is_none() -> None:
    for name in WISH:
        assert not asks_for_one({key: WISH[key] for key in WISH if key != name})


def test_the_answer_says_what_is_missing() -> None:
    answer = upgrade_required()

    assert answer.status == 426
    assert answer.headers["Upgrade"] == "websocket"
    assert "a proxy on the way has to pass on" in (answer.text or "")


def asks_for_one(headers: dict[str, str]) -> bool:
    request = make_mocked_request("GET", "/v1/control", headers=headers)
    return is_upgrade(request, web.WebSocketResponse())
