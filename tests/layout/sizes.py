"""How long and how branched the code is, and which names it gives twice."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.layout.sources import Module

BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Function:
    """A function with its figures."""

    path: str
    line: int
    name: str
    """With the names of the classes and functions around it, dotted."""
    lines: int
    complexity: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


def functions(modules: Sequence[Module]) -> Iterator[Function]:
    """Yield every function, also those in classes and functions."""
    for module in modules:
        yield from _functions(module, module.tree, "")


def _functions(module: Module, node: ast.AST, outer: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        inner = outer
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            inner = f"{outer}.{child.name}" if outer else child.name
        if isinstance(child, FUNCTIONS):
            lines = (child.end_lineno or child.lineno) - child.lineno + 1
            yield Function(
                module.path, child.lineno, inner, lines, complexity_of(child)
            )
        yield from _functions(module, child, inner)


def complexity_of(function: ast.AST) -> int:
    """Return the cyclomatic complexity: the branches of a function, and one.

    ``and`` and ``or`` are branches, and so are the loops and conditions of
    comprehensions. Functions and classes inside are counted by themselves.
    """
    return 1 + _branches(function)


def _branches(node: ast.AST) -> int:
    count = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        if isinstance(child, BRANCHES):
            count += 1
        elif isinstance(child, ast.BoolOp):
            count += len(child.values) - 1
        elif isinstance(child, ast.comprehension):
            count += 1 + len(child.ifs)
        count += _branches(child)
    return count


def too_big(
    modules: Sequence[Module],
    max_lines: int,
    max_complexity: int,
    reasons: Mapping[str, str],
) -> Iterator[str]:
    """Yield functions that are too long or too branched, and reasons without need.

    :param reasons: why a function may be so, by "path name".
    """
    needed = set()
    for function in functions(modules):
        if function.lines <= max_lines and function.complexity <= max_complexity:
            continue
        key = f"{function.path} {function.name}"
        needed.add(key)
        if key not in reasons:
            yield (
                f"{function} has {function.lines} lines "
                f"and a complexity of {function.complexity}"
            )
    for key in reasons:
        if key not in needed:
            yield f"tests/layout/tables.py: the reason for {key} is not needed"


def classes(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Return where the classes of each name are, in the order of the sources."""
    found: dict[str, list[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                place = f"{module.path}:{node.lineno}"
                found.setdefault(node.name, []).append(place)
    return found


def twice(
    modules: Sequence[Module], reasons: Mapping[str, str], tree: str
) -> Iterator[str]:
    """Yield names that several classes of one tree have, and reasons without need.

    :param reasons: why several may have a name, by "tree name".
    """
    needed = set()
    for name, places in classes(modules).items():
        if len(places) > 1:
            needed.add(f"{tree} {name}")
            if f"{tree} {name}" not in reasons:
                yield f"{tree}: {len(places)} classes are {name}: {', '.join(places)}"
    for key in reasons:
        if key.startswith(f"{tree} ") and key not in needed:
            yield f"tests/layout/tables.py: the reason for {key} is not needed"
