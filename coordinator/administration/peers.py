"""Phones and routers with plain WireGuard, which have a hub."""

from collections.abc import Callable

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import NewPeer, PageQuery
from coordinator.administration.pages import page
from coordinator.administration.problems import (
    Problem,
    Trouble,
    malformed,
    unknown,
)
from coordinator.mesh.endpoints import Unreachable, parse_endpoint
from coordinator.mesh.etags import node_etag
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import AddPeer, Remove
from coordinator.mesh.peerconfig import config_of
from coordinator.mesh.plainpeers import ConfigToken, find_plain_peer, plain_peers
from coordinator.mesh.records import peer_record
from coordinator.mesh.registry import Registry
from meshwg.errors import MeshError
from meshwg.keys import PrivateKey, format_key

SUFFIX = ".conf"


async def list_peers(asked: Asked) -> Answer:
    """List all plain WireGuard peers, by name."""
    registry, wanted = await asked.mesh.registry(), asked.asking(PageQuery)
    peers = plain_peers(registry)
    shown, more = page(peers, lambda each: (each.name,), wanted.limit, wanted.cursor)
    return Answer({"peers": [peer_record(each, registry) for each in shown], **more})


async def show_peer(asked: Asked) -> Answer:
    """Show one of them with its configuration, but for the private key."""
    registry = await asked.mesh.registry()
    peer = _named(asked, registry)
    config = config_of(peer, registry)
    if isinstance(config, Unreachable):
        raise Problem(409, Trouble.REFUSED, str(config))
    record = peer_record(peer, registry)
    answer = {"peer": record, "config": config.wg_quick(), "qr": ""}
    return Answer(answer, node_etag(peer))


async def add_peer(asked: Asked) -> Answer:
    """Add one. The answer is the only one with its private key, kept nowhere."""
    wanted = asked.sent(NewPeer)
    key, public = None, wanted.public_key or ""
    if not public:
        key = PrivateKey.generate(asked.random)
        public = format_key(key.public_bytes)
    token = ConfigToken.generate(asked.random)
    done = await asked.perform(_operation(wanted, public, token.digest))
    assert done.node is not None
    answer = told_once(done.node, await asked.mesh.registry(), key, asked.draw)
    url = next(iter(await asked.mesh.urls()), "")
    answer["url"] = config_url(url, done.node.name, token.text)
    return Answer(answer, node_etag(done.node))


async def remove_peer(asked: Asked) -> Answer:
    """Remove one, whose hub cuts it off at once; the answer shows it as it was."""
    registry = await asked.mesh.registry()
    peer = _named(asked, registry)
    record = peer_record(peer, registry)
    await asked.perform(Remove(peer.key))
    return Answer({"peer": record})


def told_once(
    peer: Node,
    registry: Registry,
    key: PrivateKey | None,
    draw: Callable[[str], str],
) -> dict[str, object]:
    """Return what a new peer has to know: once, since nobody keeps its private key.

    :param key: ``None`` if it has one of its own already.
    :param draw: makes a QR code of a text.
    :raises MeshError: if its hub has gone meanwhile.
    """
    config = config_of(peer, registry)
    if isinstance(config, Unreachable):
        raise MeshError(str(config))
    private = None if key is None else format_key(key.private_bytes)
    text = config.wg_quick(private)
    code = "" if key is None else draw(text)
    return {"peer": peer_record(peer, registry), "config": text, "qr": code}


def config_url(base: str, name: str, secret: str) -> str | None:
    """Return where a router fetches its configuration, ``None`` if nowhere.

    Over plain HTTP everybody on the way could read the secret.
    """
    if not base.startswith("https://"):
        return None
    return f"{base.rstrip('/')}/v1/wg/{name}{SUFFIX}?token={secret}"


def _named(asked: Asked, registry: Registry) -> Node:
    name = asked.path["peer"]
    peer = find_plain_peer(registry, name)
    if peer is None:
        raise unknown(
            f"There is no plain WireGuard peer {name}; 'meshwg-coordinator peer list' "
            "shows all"
        )
    return peer


def _operation(wanted: NewPeer, public: str, digest: str) -> AddPeer:
    """Return what a body asks for.

    :raises Problem: if it makes no sense.
    """
    endpoint = wanted.endpoint or ""
    if endpoint:
        try:
            parse_endpoint(endpoint)
        except ValueError as error:
            raise malformed(str(error)) from None
    return AddPeer(
        wanted.name,
        public,
        hub=wanted.hub or "",
        full_tunnel=wanted.full_tunnel,
        endpoint=endpoint,
        owner=wanted.owner or "",
        tags=tuple(dict.fromkeys(wanted.tags or ())),
        token_digest=digest,
    )
