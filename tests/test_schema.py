"""Values become dataclasses by annotations, or are refused with the place."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from meshwg.schema import (
    Converted,
    Malformed,
    Matching,
    MaxLength,
    Unknown,
    Within,
    plain,
    read,
    sparse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    number: Annotated[int, Within(ge=1, lt=10)]
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    name: Annotated[str, MaxLength(5), Converted(str.upper)] = "OAK"
    kind: Literal["a", "b", "c"] = "a"
    word: Annotated[str, Matching("[a-z]+")] = "x"
    ratio: Annotated[float, Within(gt=0, le=1)] = 0.5
    alive: bool = True
    place: Path = Path("/")
    leaves: Annotated[tuple[Leaf, ...], MaxLength(2)] = ()
    more: dict[str, Any] = field(default_factory=dict)


def test_what_is_missing_has_its_default() -> None:
    assert read(Tree, {}) == Tree()


def test_values_are_taken_and_brought_into_form() -> None:
    value = {
        "name": "ash",
        "kind": "b",
        "ratio": 1,
        "alive": False,
        "place": "/tmp",
        "leaves": [{"number": 3, "note": "new"}, {"number": 4}],
        "more": {"x": [None]},
        "unknown": 7,
    }

    assert read(Tree, value) == Tree(
        name="ASH",
        kind="b",
        ratio=1.0,
        alive=False,
        place=Path("/tmp"),
        leaves=(Leaf(number=3, note="new"), Leaf(number=4)),
        more={"x": [None]},
    )


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        ([], (), "an object"),
        ({"name": 5}, ("name",), "a text"),
        ({"name": "sequoia"}, ("name",), "at most 5"),
        ({"name": "\udc80"}, ("name",), "surrogates not allowed"),
        ({"kind": "d"}, ("kind",), "'a', 'b' or 'c'"),
        ({"kind": []}, ("kind",), "'a', 'b' or 'c'"),
        ({"word": "x\n"}, ("word",), r"\[a-z\]\+"),
        ({"ratio": 0}, ("ratio",), "greater than 0"),
        ({"ratio": 1.1}, ("ratio",), "less than or equal to 1"),
        ({"ratio": float("nan")}, ("ratio",), "a finite number"),
        ({"ratio": float("inf")}, ("ratio",), "a finite number"),
        ({"ratio": 10**400}, ("ratio",), "a smaller number"),
        ({"ratio": "1"}, ("ratio",), "a number"),
        ({"ratio": True}, ("ratio",), "a number"),
        ({"alive": 1}, ("alive",), "true or false"),
        ({"place": 1}, ("place",), "a path"),
        ({"place": None}, ("place",), "a path"),
        ({"leaves": {}}, ("leaves",), "a list"),
        ({"leaves": [{}]}, ("leaves", "0", "number"), "missing"),
        ({"leaves": [{"number": 3}, 7]}, ("leaves", "1"), "an object"),
        ({"leaves": [{"number": 10}]}, ("leaves", "0", "number"), "less than 10"),
        ({"leaves": [{"number": 0}]}, ("leaves", "0", "number"), "or equal to 1"),
        ({"leaves": [{"number": 2.0}]}, ("leaves", "0", "number"), "a whole number"),
        ({"leaves": [7] * 3}, ("leaves",), "at most 2"),
        ({"more": []}, ("more",), "an object"),
    ],
)
def test_what_does_not_fit_is_refused(
    value: object, place: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(Malformed, match=reason) as refused:
        read(Tree, value)

    assert refused.value.place == place


def test_fields_that_nobody_knows_are_refused_where_that_is_wanted() -> None:
    with pytest.raises(Unknown) as refused:
        read(Tree, {"name": "ash", "colour": "green"}, strict=True)

    assert refused.value.place == ("colour",)
    assert read(Tree, {"name": "ash"}, strict=True).name == "ASH"


def test_plain_values_leave_out_what_is_not_there() -> None:
    tree = Tree(leaves=(Leaf(number=1),), more={"kept": None})

    value = plain(tree)

    assert value["leaves"] == [{"number": 1}]
    assert value["more"] == {"kept": None}
    assert read(Tree, value) == tree


def test_sparse_values_leave_out_defaults_and_read_the_same() -> None:
    tree = Tree(leaves=(Leaf(number=1),))

    assert sparse(tree)["leaves"] == [{"number": 1}]
    assert sparse(tree).keys() < plain(tree).keys()
    assert read(Tree, sparse(tree)) == tree
