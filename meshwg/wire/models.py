"""The messages as pydantic models, by which a coordinator reads what nodes send.

The messages themselves are dataclasses (:mod:`meshwg.wire.control`), whose annotations
pydantic takes as they are. A node does without it, for the sake of its memory and its
start; a coordinator hears from strangers.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from meshwg.errors import InvalidMessage
from meshwg.wire.control import MAX_NODE_PAYLOAD, FromCoordinator, FromNode, unpack

FROM_NODE: TypeAdapter[FromNode] = TypeAdapter(
    Annotated[FromNode, Field(discriminator="type")]
)
FROM_COORDINATOR: TypeAdapter[FromCoordinator] = TypeAdapter(
    Annotated[FromCoordinator, Field(discriminator="type")]
)


def decode_from_node(payload: bytes) -> FromNode | None:
    """Return a node's message, ``None`` if its type is unknown.

    :raises InvalidMessage: if it is too large or malformed.
    """
    if len(payload) > MAX_NODE_PAYLOAD:
        raise InvalidMessage("A message of a node is too large")
    try:
        return FROM_NODE.validate_json(unpack(payload, MAX_NODE_PAYLOAD))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        place = ".".join(str(part) for part in first["loc"][1:4]) or "JSON"
        raise InvalidMessage(f"A message is malformed at {place[:80]}") from None
