"""The pieces of the benchmark of a start: who lists whom, and what a command costs."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import start
from netlab.errors import LabError
from netlab.machine import Host
from netlab.mesh import MeshNode


@pytest.mark.parametrize(
    ("peers", "lists"),
    [
        ([], False),
        ([{"name": "other", "online": False}], False),
        ([{"name": "third", "online": True}], False),
        (
            [{"name": "third", "online": True}, {"name": "other", "online": True}],
            True,
        ),
    ],
)
def test_a_node_lists_another_once_that_is_online(
    peers: list[dict[str, Any]], lists: bool
) -> None:
    one, other = a_node("one", peers), a_node("other", [])

    assert start._lists(one, other) is lists


def test_a_node_that_is_not_up_yet_lists_nobody() -> None:
    assert not start._lists(a_node("one", None), a_node("other", []))


def test_what_never_comes_true_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "LISTED_WITHIN", 0.0)

    with pytest.raises(LabError, match="not true within 0 s that it answers"):
        start._poll(lambda: False, "it answers")


def test_what_comes_true_is_waited_for() -> None:
    seen = iter([False, False, True])

    start._poll(lambda: next(seen), "it answers")

    assert next(seen, None) is None


def test_a_command_costs_its_own_time_and_that_of_its_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, processor = iter([10.0, 10.5]), iter([3.0, 3.125])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(start, "_children", lambda: next(processor))
    ran: list[list[str]] = []

    cost = start._timed(cast(Host, SimpleNamespace(run=ran.append)), ["status"])

    assert cost == (0.5, 0.125)
    assert [command[-1] for command in ran] == ["status"]


def a_node(name: str, peers: list[dict[str, Any]] | None) -> MeshNode:
    """Return a node that lists these peers; one without a list does not answer."""

    def status() -> dict[str, Any]:
        if peers is None:
            raise LabError("There is no daemon.")
        return {"peers": peers}

    return cast(MeshNode, SimpleNamespace(name=name, status=status))
