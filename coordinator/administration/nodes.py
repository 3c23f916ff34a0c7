"""Nodes, and what they offer to others."""

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import NodeChange, PageQuery, RouteChoice
from coordinator.administration.pages import page
from coordinator.administration.problems import malformed, unknown
from coordinator.mesh.approvals import parse_item
from coordinator.mesh.etags import node_etag
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Approve,
    Assign,
    Expire,
    Operation,
    Refuse,
    Remove,
    Rename,
)
from coordinator.mesh.records import node_record, route_record, route_records

NAME_OR_OWNER = 'The body must be {"name": "NAME"} or {"owner": "USER", "tags": []}'
NODE_AND_PREFIX = 'The body must be {"node": "NAME", "prefix": "10.1.0.0/16"}'


async def list_nodes(asked: Asked) -> Answer:
    """List all nodes, by name."""
    registry = await asked.mesh.registry()
    nodes = sorted(registry.nodes.values(), key=lambda node: node.name)
    wanted = asked.asking(PageQuery)
    shown, more = page(nodes, lambda node: (node.name,), wanted.limit, wanted.cursor)
    records = [node_record(each, registry.networks) for each in shown]
    return Answer({"nodes": records, **more})


async def show_node(asked: Asked) -> Answer:
    """Show one node, by its name or its public key."""
    return await _told(asked, await _named(asked))


async def change_node(asked: Asked) -> Answer:
    """Give a node another name, or say whose it is and what it is to policies."""
    name, change = asked.path["node"], asked.sent(NodeChange)
    is_assigned = change.owner is not None or change.tags is not None
    if is_assigned == (change.name is not None):
        raise malformed(NAME_OR_OWNER)
    if change.name is not None:
        return await _performed(asked, Rename(name, change.name))
    owner, tags = change.owner, change.tags
    if owner is None or tags is None:
        known = await _named(asked)
        owner = known.owner if owner is None else owner
        tags = known.tags if tags is None else tags
    return await _performed(asked, Assign(name, owner, tuple(dict.fromkeys(tags))))


async def expire_node(asked: Asked) -> Answer:
    """Make a node join again; it keeps its addresses."""
    return await _performed(asked, Expire(asked.path["node"]))


async def remove_node(asked: Asked) -> Answer:
    """End the membership of a node; the answer shows it as it was."""
    return await _performed(asked, Remove(asked.path["node"]))


async def list_routes(asked: Asked) -> Answer:
    """List networks behind nodes, and exits, with what has become of each."""
    registry = await asked.mesh.registry()
    records = route_records(registry.nodes.values())
    wanted = asked.asking(PageQuery)
    shown, more = page(
        records,
        lambda each: (each["node"], each["prefix"]),
        wanted.limit,
        wanted.cursor,
    )
    return Answer({"routes": list(shown), **more})


async def approve_route(asked: Asked) -> Answer:
    """Let others be told of a network behind a node, of an exit or of a hub."""
    return await _decided(asked, Approve(*_chosen(asked)))


async def refuse_route(asked: Asked) -> Answer:
    """Let nobody be told of it."""
    return await _decided(asked, Refuse(*_chosen(asked)))


async def _named(asked: Asked) -> Node:
    name = asked.path["node"]
    registry = await asked.mesh.registry()
    node = registry.nodes.get(registry.names.get(name, name))
    if node is None:
        raise unknown(
            f"There is no node {name}; 'meshwg-coordinator node list' shows all"
        )
    return node


async def _performed(asked: Asked, operation: Operation) -> Answer:
    node = (await asked.perform(operation)).node
    assert node is not None
    return await _told(asked, node)


async def _told(asked: Asked, node: Node) -> Answer:
    networks = (await asked.mesh.registry()).networks
    return Answer({"node": node_record(node, networks)}, node_etag(node))


def _chosen(asked: Asked) -> tuple[str, str]:
    choice = asked.sent(RouteChoice)
    try:
        return choice.node, parse_item(choice.prefix)
    except ValueError as error:
        raise malformed(str(error)) from None


async def _decided(asked: Asked, operation: Approve | Refuse) -> Answer:
    node = (await asked.perform(operation)).node
    assert node is not None
    state = node.state_of(operation.item)
    assert state is not None, "there is a decision on it"
    return Answer({"route": route_record(node, state)}, node_etag(node))
