"""Whether a request wants a WebSocket, and what one is told that does not.

Between a node and this server there may be a proxy that takes what it does not know off
requests, ``Upgrade`` among it. Nodes tell by the answer's status that this is so, and
that the coordinator is there.
"""

from aiohttp import web


def is_upgrade(request: web.Request, socket: web.WebSocketResponse) -> bool:
    """Tell whether a request asks for a WebSocket, and for nothing else."""
    if request.can_read_body:
        return False
    try:
        return bool(socket.can_prepare(request))
    except ValueError:
        # A header is no text: the key is to be decoded, or a refusal would quote it.
        return False


def upgrade_required() -> web.Response:
    """Return the answer to what does not (RFC 9110 section 15.5.22)."""
    text = (
        "Only the WebSocket of a node is served here; a proxy on the way has to pass "
        "on the headers Upgrade and Connection\n"
    )
    headers = {"Upgrade": "websocket"}
    return web.Response(status=426, text=text, headers=headers)
