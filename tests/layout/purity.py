"""Pure code imports from a whitelist, and touches no file, clock or environment.

What is not seen: an impure object that is handed in as an argument, and what the
whitelisted modules do themselves.
"""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence

from tests.layout.sources import Module, aliases, dotted, imports, within

FORBIDDEN_BUILTINS = {
    "__import__",
    "breakpoint",
    "compile",
    "eval",
    "exec",
    "hash",
    "input",
    "open",
    "print",
}
"""``hash`` is here because it differs from one process to the next."""

CLOCKS_AND_CHANCE = (
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.gmtime",
    "time.localtime",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.process_time",
    "time.strftime",
    "time.time",
    "time.time_ns",
    "date.today",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "os.urandom",
    "random",
    "secrets",
    "uuid.uuid1",
    "uuid.uuid4",
)
ENVIRONMENT = ("os.environ", "os.environb", "os.getenv", "os.getenvb")
SHELL = ("asyncio", "os", "socket", "subprocess", "sys", "threading", "time")
"""Modules whose every use in pure code is a finding, however it got there."""


def is_pure(module: Module, impure: Sequence[str]) -> bool:
    """Return whether a module is in none of the impure packages."""
    return not any(within(module.name, package) for package in impure)


def unlisted(
    modules: Sequence[Module],
    trees: Sequence[str],
    standard: Sequence[str],
    more: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Yield imports of pure modules that are not on the whitelist.

    Packages of other people are the matter of :func:`astray`.

    :param trees: the top names of this project; the layers are about those.
    :param standard: modules of the standard library for all.
    :param more: modules of the standard library for single modules of ours.
    """
    for module in modules:
        allowed = [*standard, *more.get(module.name, ())]
        for each in imports(module):
            top = each.target.split(".")[0]
            if top in trees or top not in sys.stdlib_module_names:
                continue
            # ``from urllib.parse import x`` has a target in ``urllib.parse``, and
            # ``from urllib import parse`` is it; ``import urllib`` is neither.
            if not any(within(each.target, name) for name in allowed):
                yield module.at(each.node, f"imports {each.target} in pure code")


def astray(
    modules: Sequence[Module],
    trees: Sequence[str],
    homes: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Yield imports of third-party packages outside the modules that may use them."""
    for module in modules:
        for each in imports(module):
            top = each.target.split(".")[0]
            if top in trees or top in sys.stdlib_module_names or not top:
                continue
            if not any(within(module.name, home) for home in homes.get(top, ())):
                yield module.at(each.node, f"imports {each.target}")


def unused(
    modules: Sequence[Module], listed: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield entries of a table from packages to imports that nothing needs."""
    for package, names in listed.items():
        for name in names:
            if not any(
                within(each.target, name)
                for module in modules
                if within(module.name, package)
                for each in imports(module)
            ):
                yield f"tests/layout/tables.py: {package} does not import {name}"


def impure(modules: Sequence[Module]) -> Iterator[str]:
    """Yield late imports, and uses of files, clocks and the environment."""
    for module in modules:
        for each in imports(module):
            if each.in_function:
                yield module.at(each.node, f"imports {each.target} in a function")
        known, bound = aliases(module), _bound(module.tree)
        for node in ast.walk(module.tree):
            # The name as it is written, too: it may come by way of another module.
            for name in dict.fromkeys((dotted(node, {}), dotted(node, known))):
                if name.split(".")[0] not in bound and _is_impure(name):
                    yield module.at(node, f"uses {name} in pure code")


def _is_impure(name: str) -> bool:
    top, is_member, _ = name.partition(".")
    if not is_member:
        return name in FORBIDDEN_BUILTINS
    return top in SHELL or _is_one_of(name, CLOCKS_AND_CHANCE)


def at_import(modules: Sequence[Module], reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield reads of clocks, chance and the environment while a module is imported.

    Functions that are called then are not looked into.

    :param reasons: why a file may do so.
    """
    needed = set()
    for module in modules:
        for node, found in _read_at_import(module):
            needed.add(module.path)
            if module.path not in reasons:
                yield module.at(node, f"reads {found} when it is imported")
    for path in reasons:
        if path not in needed:
            yield f"tests/layout/tables.py: the reason for {path} is not needed"


def _read_at_import(module: Module) -> Iterator[tuple[ast.AST, str]]:
    known = aliases(module)
    for node in _run_at_import(module.tree):
        if dotted(node, known) in ENVIRONMENT:
            yield node, dotted(node, known)
        elif isinstance(node, ast.Call):
            name = dotted(node.func, known)
            if _is_one_of(name, CLOCKS_AND_CHANCE):
                yield node, name


def _is_one_of(name: str, names: Sequence[str]) -> bool:
    return any(within(name, each) for each in names)


def _bound(tree: ast.Module) -> set[str]:
    """Return names that parameters and assignments of the module bind."""
    return {
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported, outermost first."""
    yield node
    children: Iterator[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        children = iter([*node.decorator_list, *_defaults(node.args)])
    elif isinstance(node, ast.Lambda):
        children = iter(_defaults(node.args))
    elif isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
        children = iter(node.orelse)
    for child in children:
        yield from _run_at_import(child)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(each for each in arguments.kw_defaults if each)]
