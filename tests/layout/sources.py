"""Source files as the rules see them: a dotted name, a path and a syntax tree."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Module:
    """One source file."""

    name: str
    """Dotted, as other modules import it."""
    path: str
    """Relative to the root of the project."""
    tree: ast.Module
    lines: int

    def at(self, node: ast.AST, text: str) -> str:
        """Return a finding that can be clicked on."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {text}"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name.

    ``from a import b`` may import a module or something in one; the target is ``a.b``.
    """

    target: str
    node: ast.Import | ast.ImportFrom
    in_function: bool


def parse(text: str, name: str = "meshwg.path.made_up") -> Module:
    """Return a module of this text, as if it stood in the tree."""
    path = name.replace(".", "/") + ".py"
    return Module(name, path, ast.parse(text), text.count("\n") + 1)


def load(folder: str, root: Path = ROOT) -> list[Module]:
    """Return the modules of a package, or of a folder of packages like the lab's."""
    base = root if (root / folder / "__init__.py").exists() else root / folder
    found = []
    for path in sorted((root / folder).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        text = path.read_text()
        place = str(path.relative_to(root))
        found.append(Module(name, place, ast.parse(text), len(text.splitlines())))
    return found


@functools.cache
def imports(module: Module) -> tuple[Import, ...]:
    """Return every import, those in functions and for type checkers too."""
    return tuple(_imports(module.tree, False))


def _imports(node: ast.AST, in_function: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node, in_function)
    elif isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        for alias in node.names:
            yield Import(f"{base}.{alias.name}", node, in_function)
    else:
        in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, in_function)


def aliases(module: Module) -> dict[str, str]:
    """Return what the imported names of a module stand for, dotted."""
    found = {}
    for each in imports(module):
        for alias in each.node.names:
            if isinstance(each.node, ast.ImportFrom):
                if each.target.endswith(f".{alias.name}"):
                    found[alias.asname or alias.name] = each.target
            elif alias.asname is not None:
                found[alias.asname] = alias.name
    return found


def dotted(node: ast.AST, known: dict[str, str]) -> str:
    """Return the dotted name of an expression like ``a.b.c``, empty if it is none."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(node.value, known)
        return f"{base}.{node.attr}" if base else ""
    return ""


def within(name: str, package: str) -> bool:
    """Return whether a dotted name is a package, or something in it."""
    return name == package or name.startswith(package + ".")
