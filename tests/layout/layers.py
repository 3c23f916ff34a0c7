"""Imports go down only, siblings do not import each other, and nothing goes in circles.

Layers are rows of parts, the highest first. A part is one package or module, or
several with spaces between them, which may then import each other. A name belongs to
the part with the longest name that it is within.
"""

from collections.abc import Iterator, Mapping, Sequence

from tests.layout.sources import Import, Module, imports, within

Rows = Sequence[Sequence[str]]


def breaches(modules: Sequence[Module], rows: Rows) -> Iterator[str]:
    """Yield imports that go up or aside, and modules that have no place."""
    packages = {module.name.split(".")[0] for module in modules}
    for module in modules:
        own = _place(module.name, rows)
        if own is None:
            yield f"{module.path}: is in no layer of tests/layout/tables.py"
            continue
        for each in imports(module):
            if each.target.split(".")[0] not in packages:
                continue
            other = _place(each.target, rows)
            if other is not None and other != own and other[0] <= own[0]:
                way = "aside" if other[0] == own[0] else "up"
                yield module.at(each.node, f"imports {each.target}, which goes {way}")


def unused(modules: Sequence[Module], rows: Rows) -> Iterator[str]:
    """Yield names in the layers that no module has any more."""
    for row in rows:
        for name in " ".join(row).split():
            if not any(within(module.name, name) for module in modules):
                yield f"tests/layout/tables.py: there is no {name}"


def relative(modules: Sequence[Module]) -> Iterator[str]:
    """Yield relative imports: the other rules would not see where they go."""
    for module in modules:
        for each in imports(module):
            if each.target.startswith("."):
                yield module.at(each.node, "has a relative import")


def foreign(
    modules: Sequence[Module],
    trees: Sequence[str],
    allowed: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Yield imports from other trees of this project that are not allowed.

    :param trees: the top names of this project.
    :param allowed: what packages may import of other trees, parts of them included.
    """
    for module in modules:
        own = module.name.split(".")[0]
        may = [
            target
            for package, targets in allowed.items()
            if within(module.name, package)
            for target in targets
        ]
        for each in imports(module):
            top = each.target.split(".")[0]
            if top == own or top not in trees or _is_any(each, may):
                continue
            yield module.at(each.node, f"imports {each.target}")


def _is_any(each: Import, allowed: Sequence[str]) -> bool:
    return any(within(each.target, name) for name in allowed)


def _place(name: str, rows: Rows) -> tuple[int, int] | None:
    """Return the row of a name, counted from the top, and its part of that row."""
    places = {
        package: (height, number)
        for height, row in enumerate(rows)
        for number, part in enumerate(row)
        for package in part.split()
    }
    while name and name not in places:
        name = name.rpartition(".")[0]
        # The root of a tree is a part by itself, where the tree has other parts.
        if any(each.startswith(name + ".") for each in places):
            return None
    return places.get(name)


def cycles(modules: Sequence[Module]) -> Iterator[str]:
    """Yield groups of modules that import each other, by whatever way.

    Imports in functions and those for type checkers count: they hide a circle, they
    do not open it. That a package is initialised before what is in it does not count.
    """
    known = {module.name: module for module in modules}
    graph = {
        module.name: sorted(
            {_module_of(each.target, known) for each in imports(module)} - {""}
        )
        for module in modules
    }
    for group in _strongly_connected(graph):
        if len(group) > 1 or group[0] in graph[group[0]]:
            yield f"{known[group[0]].path}: {' and '.join(group)} import each other"


def _module_of(target: str, known: Mapping[str, Module]) -> str:
    """Return the module that a target is, or is in; empty if it is not of the tree."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target


def _strongly_connected(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the strongly connected components of a graph, each sorted (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph.get(name, ()):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            start = stack.index(name)
            found.append(sorted(stack[start:]))
            del stack[start:]

    for name in graph:
        if name not in index:
            visit(name)
    return found
