"""What a node reads, held against what pydantic reads by the same annotations."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from meshwg.errors import InvalidMessage
from meshwg.wire.control import (
    Cache,
    FromCoordinator,
    decode_from_coordinator,
    encode,
    load_cache,
    to_json,
    unpack,
)
from meshwg.wire.models import FROM_COORDINATOR, decode_from_node
from tests.wire.test_control import FROM_COORDINATOR as MESSAGES
from tests.wire.test_control import FROM_NODE, PEER, REGISTERED

ENORMOUS = 10**400
STRANGE: list[Any] = [
    *(None, True, 0, 1, -1, 1.0, 1.5, 65536, 1 << 63, ENORMOUS, float("nan")),
    *("", "x" * 600, "host", "::1%lo", "10.0.0.1/8", "\ud800", "ä", "1", "Boss!"),
    *([], {}, [None], ["10.0.0.0/8"] * 65, [[]], {"ipv4": {}}, {"a": {"b": None}}),
]
"""Values in place of others."""


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.type)
def test_pydantic_reads_what_a_coordinator_writes(message: FromCoordinator) -> None:
    text = unpack(encode(message), 1 << 20)

    assert FROM_COORDINATOR.validate_json(text) == message
    assert FROM_COORDINATOR.dump_json(message, exclude_none=True) == text


@given(st.data())
def test_a_node_reads_nothing_that_pydantic_does_not(data: st.DataObject) -> None:
    message: Any = data.draw(st.sampled_from(MESSAGES))
    raw = json.loads(unpack(encode(message), 1 << 20))
    change_something(raw, data)
    text = json.dumps(raw).encode()

    try:
        found = decode_from_coordinator(b"\0" + text)
    except InvalidMessage:
        return
    if found is None:
        with pytest.raises(ValidationError):
            FROM_COORDINATOR.validate_json(text)
    else:
        assert FROM_COORDINATOR.validate_json(text) == found


@given(st.data())
def test_a_node_reads_whatever_pydantic_reads_without_converting(
    data: st.DataObject,
) -> None:
    message: Any = data.draw(st.sampled_from(MESSAGES))
    raw = json.loads(unpack(encode(message), 1 << 20))
    change_something(raw, data)
    text = json.dumps(raw).encode()
    if b"NaN" in text or str(ENORMOUS).encode() in text:
        return  # Pydantic overlooks that one is no JSON, and takes the other for inf.

    try:
        expected = FROM_COORDINATOR.validate_json(text, strict=True)
    except ValidationError:
        return
    assert decode_from_coordinator(b"\0" + text) == expected


@pytest.mark.parametrize("message", FROM_NODE, ids=lambda m: m.type)
def test_what_is_wrong_is_named_without_its_value(message: Any) -> None:
    raw = json.loads(unpack(encode(message), 1 << 20))
    for name in raw.keys() - {"type", "extension"}:
        wrong = {**raw, name: [["secret"]]}
        with pytest.raises(InvalidMessage) as caught:
            decode_from_node(b"\0" + json.dumps(wrong).encode())
        assert name in str(caught.value)
        assert "secret" not in str(caught.value)


def test_pydantic_reads_the_cache_as_a_node_does() -> None:
    cache = Cache(registered=REGISTERED, version=4, peers=(PEER,))

    assert TypeAdapter(Cache).validate_json(to_json(cache)) == cache
    assert load_cache(to_json(cache)) == cache


def change_something(raw: dict[str, Any], data: st.DataObject) -> None:
    """Put something strange at a place of a message, or take something away."""
    places = list(places_in(raw))
    container, key = data.draw(st.sampled_from(places))
    if data.draw(st.booleans()):
        container[key] = copy.deepcopy(data.draw(st.sampled_from(STRANGE)))
    else:
        del container[key]


def places_in(value: Any) -> Any:
    """Yield all containers in a value with each of their keys."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places_in(value[key])
