"""The rules about sizes and names count right, and find what is too much."""

import pytest

from tests.layout import sizes
from tests.layout.sources import parse


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("return 1", 1),
        ("if a: pass", 2),
        ("if a: pass\n  elif b: pass\n  else: pass", 3),
        ("return a and b or c", 3),
        ("return a if b else c", 2),
        ("for a in b:\n    while c: pass", 3),
        ("return [a for a in b if c if d]", 4),
        ("try: pass\n  except A: pass\n  except B: pass\n  finally: pass", 3),
        ("match a:\n    case 1: pass\n    case _: pass", 3),
        ("with a: pass", 1),
        ("return lambda: a or b", 2),
        ("def g():\n    if a: pass", 1),
    ],
)
def test_complexity_is_the_number_of_branches_and_one(
    body: str, complexity: int
) -> None:
    function, *_ = sizes.functions([parse(f"def f():\n  {body}")])

    assert function.complexity == complexity


def test_functions_are_known_by_what_is_around_them() -> None:
    text = "class A:\n  def f(self):\n    def g(): ...\nasync def h(): ..."

    found = list(sizes.functions([parse(text)]))

    assert [each.name for each in found] == ["A.f", "A.f.g", "h"]
    assert [each.lines for each in found] == [2, 1, 1]


def test_a_function_that_is_too_long_or_too_branched_is_found() -> None:
    long = parse("def f():\n" + "  x = 1\n" * 4, "a.long")
    branched = parse("def f():\n  return a or b or c or d", "a.branched")
    fine = parse("def f():\n  x = 1\n  return a or b", "a.fine")

    found = list(sizes.too_big([long, branched, fine], 4, 3, {}))

    assert found == [
        "a/long.py:1: f has 5 lines and a complexity of 1",
        "a/branched.py:1: f has 2 lines and a complexity of 4",
    ]


def test_a_reason_for_a_big_function_must_be_needed() -> None:
    module = parse("def f():\n  x = 1\n  x = 2", "a.b")
    reasons = {"a/b.py f": "it has to be"}

    assert not list(sizes.too_big([module], 2, 9, reasons))
    (found,) = sizes.too_big([module], 3, 9, reasons)
    assert "the reason for a/b.py f is not needed" in found


def test_a_class_name_used_twice_is_found() -> None:
    one = parse("class A:\n  class B: ...", "a.one")
    two = parse("class B: ...\nclass C: ...", "a.two")

    (found,) = sizes.twice([one, two], {}, "a")

    assert found == "a: 2 classes are B: a/one.py:2, a/two.py:1"


def test_a_reason_for_a_name_is_for_one_tree_and_must_be_needed() -> None:
    modules = [parse("class A: ...", "a.one"), parse("class A: ...", "a.two")]

    assert not list(sizes.twice(modules, {"a A": "so", "b A": "so"}, "a"))
    (found,) = sizes.twice(modules[:1], {"a A": "so"}, "a")
    assert "the reason for a A is not needed" in found
    assert len(list(sizes.twice(modules, {"b A": "so"}, "a"))) == 1
