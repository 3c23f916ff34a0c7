"""Entity tags: how an administrator says which state of something he has seen.

A tag stands for what administrators can change, as the audit log notes it. It stays the
same while a node comes and goes, so that a decision does not fail for that.
"""

import hashlib

from coordinator.mesh.audit import decision_state, node_state
from coordinator.mesh.nodes import Node

LENGTH = 20
"""Hexadecimal digits: two states of one thing do not have the same by accident."""


def etag_of(*states: str) -> str:
    """Return the tag of something that is in these states."""
    text = "\n".join(states)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:LENGTH]


def node_etag(node: Node) -> str:
    """Return the tag of a node, with what was decided on what it offers."""
    decisions = (f"{each.item} {decision_state(each)}" for each in node.decisions)
    return etag_of(node_state(node), *decisions)
