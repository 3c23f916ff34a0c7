"""The rule about sets finds where their order matters, and nothing else."""

import pytest

from tests.layout.order import iterated_sets
from tests.layout.sources import parse

LOOP = "for x in {}: pass"


@pytest.mark.parametrize(
    "text",
    [
        # Loops over what is a set by itself.
        "for x in {1, 2}: pass",
        "for x in {y for y in z}: pass",
        "for x in set(y): pass",
        "for x in frozenset(y) - z: pass",
        "for x in a.keys() - b: pass",
        "for x in b | c.keys(): pass",
        "for x in set(y).union(z): pass",
        "for x in a if b else {1}: pass",
        "async def f():\n  async for x in {1}: pass",
        # Loops over names.
        "x = set()\nfor y in x: pass",
        "x: set[int] = make()\nfor y in x: pass",
        "def f(x: frozenset[int]):\n  for y in x: pass",
        "def f(x: 'set[int] | None'):\n  for y in x: pass",
        "def f():\n  x = {1}\n  y = x\n  if a:\n    for z in y: pass",
        "def f():\n  with a:\n    x = {1}\n  def g():\n    for z in x: pass",
        "Names = frozenset[str]\ndef f(x: Names):\n  for y in x: pass",
        "if (x := {1}):\n  for y in x: pass",
        "try: pass\nexcept A:\n  for y in {1}: pass",
        "match a:\n  case 1:\n    for y in {1}: pass",
        # Comprehensions.
        "x = [y for y in {1}]",
        "x = {y: 1 for y in {1}}",
        "x = [y for z in {1} for y in z]",
        "x = sum(y for y in {1})",
        "x = sorted((y for y in {1}), key=f)",
        "x = lambda: [y for y in {1}]",
        # Other ways to take elements as they come.
        "list({1})",
        "x = tuple({1})",
        "x = iter({1})",
        "x = next(iter({1}))",
        "x = map(f, {1})",
        "x = enumerate({1})",
        "x = ', '.join({a})",
        "x = dict.fromkeys({a})",
        "x.extend({a})",
        "x = [*{1}]",
        "f(*{1})",
        "a, b = {1, 2}",
        "a, *b = {1, 2}",
        "x += {1}",
        "x = f'{ {1} }'",
        "x = min({1}, key=f)",
        "x = sorted({1}, key=f)",
        "x = set(y)\nx.pop()",
        "def f():\n  yield from {1}",
        "import itertools\nx = itertools.chain({1})",
        "from collections import deque\nx = deque({1})",
        # What promises an order.
        "def f() -> list[int]:\n  return {1}",
        "def f() -> Iterable[int]:\n  return {1}",
        "def f(x: Sequence[int]): ...\nf({1})",
        "def f(*, x: Collection[int]): ...\nf(x={1})",
        "x: Iterable[int] = {1}",
    ],
)
def test_a_dependence_on_the_order_of_a_set_is_found(text: str) -> None:
    assert len(list(iterated_sets([parse(text)]))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "for x in sorted({1}): pass",
        "for x in [1], (2, 3): pass",
        "for x in {1: 2}: pass",
        "for x in a.keys(): pass",
        "for x in a - b: pass",
        "x = {1}\nx = sorted(x)\nfor y in x: pass",
        "x = {1}\ndef f(x):\n  for y in x: pass",
        "x = len({1}), min({1}), max({1}, default=0), a in {1}, bool({1})",
        "x = any(y for y in {1}), all([y for y in {1}])",
        "x = sorted(y.z for y in {1}), sorted(map(str, {1}))",
        "x = sorted({1}, key=str)",
        "x = {y + 1 for y in {1}}",
        "x = set(y for y in {1}), frozenset({1}), {*{1}}",
        "x = set(y)\nx.update(z for z in {1})\nx |= {1}\nx.discard(1)",
        "x = {1}.isdisjoint({2}), {1} <= {2}",
        "(x,) = {1}",
        "x = f'{a}'",
        "a.pop()",
        "def f() -> set[int]:\n  return {1}",
        "def f(x: Set[int]): ...\nf({1})",
        "def f(x: set[int] | list[int]) -> None: ...\nf({1})",
        "x: dict[str, set[int]] = {}\nfor y in x: pass",
        "def f(set):\n  for x in a.set(b): pass",
    ],
)
def test_what_does_not_depend_on_order_passes(text: str) -> None:
    assert not list(iterated_sets([parse(text)]))


@pytest.mark.parametrize(
    "body",
    [
        "for x in self.names: pass",
        "for x in self.made: pass",
        "for x in self.later: pass",
        "for x in self.given: pass",
        "for x in self.shown: pass",
        "for x in self.found(): pass",
        "for x in self.by_key['a']: pass",
        "for x in self.by_key.get('a', ()): pass",
        "for x in self.by_key.setdefault('a', b): pass",
        "for y in self.by_key.values():\n      for x in y: pass",
        "for k, y in self.by_key.items():\n      for x in y: pass",
        "for x in self.other.inherited: pass",
        "for x in self.others[0].inherited: pass",
        "for other in self.others:\n      for x in other.inherited: pass",
        "for x in Other().inherited: pass",
        "for x in who.only_here: pass",
        "self.take({1})",
    ],
)
def test_attributes_are_known_for_sets_by_their_classes(body: str) -> None:
    text = f"""
from dataclasses import dataclass, field

class Base:
    inherited: frozenset[int]

class Other(Base):
    only_here: set[int] = field(default_factory=set)

@dataclass
class Machine:
    names: set[str]

    def __init__(self, given: set[int]) -> None:
        self.made = set()
        self.later = self.derived
        self.derived = {{1}} - given
        self.given = given
        self.by_key: dict[str, set[int]] = {{}}
        self.other = Other()
        self.others: list[Other] = []

    @property
    def shown(self) -> frozenset[int]: ...

    def found(self) -> set[int]: ...

    def take(self, numbers: Iterable[int]) -> None: ...

    def run(self, who) -> None:
        {body.replace("      for", "          for")}
"""
    assert len(list(iterated_sets([parse(text)]))) == 1


def test_what_other_modules_define_is_known() -> None:
    other = parse(
        "class Table:\n  keys_of: set[int]\ndef names() -> frozenset[str]: ...\n"
        "NAMES = frozenset({'a'})",
        "meshwg.other",
    )
    text = """
from meshwg import other
from meshwg.other import NAMES, Table, names as known

def run(table: Table, more: "other.Table") -> None:
    for a in table.keys_of: pass
    for a in more.keys_of: pass
    for a in known(): pass
    for a in other.names(): pass
    for a in NAMES: pass
"""
    assert len(list(iterated_sets([parse(text)], [other]))) == 5


def test_an_attribute_that_is_a_set_in_one_class_only_is_not_taken_for_one() -> None:
    text = """
class One:
    things: set[int]

class Other:
    things: list[int]

def run(unknown, other: Other) -> None:
    for x in unknown.things: pass
    for x in other.things: pass
"""
    assert not list(iterated_sets([parse(text)]))


def test_a_finding_names_the_place_and_the_set() -> None:
    (found,) = iterated_sets([parse("x = 1\nfor y in set(a) - b:\n  pass")])

    assert found == "meshwg/path/made_up.py:2: the set set(a) - b is looped over"


def test_a_reason_is_for_a_file_and_must_be_needed() -> None:
    module = parse(LOOP.format("{1}"), "meshwg.a")
    reasons = {"meshwg/a.py": "so", "meshwg/b.py": "so"}

    (found,) = iterated_sets([module], reasons=reasons)

    assert "the reason for meshwg/b.py is not needed" in found


def test_recursive_types_are_handled() -> None:
    text = """
Json = dict[str, "Json"]
A = B
B = A
def f(x: Json, y: A): ...
for z in A: pass
"""
    assert not list(iterated_sets([parse(text)]))
