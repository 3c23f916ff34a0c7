"""``python -m tests.figures``: what is long, branched or named twice, with totals."""

import sys
from collections.abc import Sequence

from tests.layout import sizes
from tests.layout.sources import load

TREES = ("meshwg", "coordinator", "netns-lab", "bench")
MAX_FILE, MAX_FUNCTION, MAX_COMPLEXITY = 400, 40, 10


def main() -> None:
    modules = [module for tree in TREES for module in load(tree)]
    functions = list(sizes.functions(modules))
    show(
        f"Files over {MAX_FILE} lines",
        [(m.lines, m.path) for m in modules if m.lines > MAX_FILE],
    )
    show(
        f"Functions over {MAX_FUNCTION} lines",
        [(f.lines, str(f)) for f in functions if f.lines > MAX_FUNCTION],
    )
    show(
        f"Functions with a complexity over {MAX_COMPLEXITY}",
        [(f.complexity, str(f)) for f in functions if f.complexity > MAX_COMPLEXITY],
    )
    show(
        "Classes whose name another class of the same tree has, too",
        [
            (len(places), f"{tree} {name}: {', '.join(places)}")
            for tree in TREES
            for name, places in sizes.classes(load(tree)).items()
            if len(places) > 1
        ],
    )
    lines = sum(module.lines for module in modules)
    sys.stdout.write(
        f"All: {len(modules)} files, {lines} lines, {len(functions)} functions\n"
    )


def show(title: str, rows: Sequence[tuple[int, str]]) -> None:
    """Write a table, the largest first, and how many rows it has."""
    sys.stdout.write(f"{title}: {len(rows)}\n")
    for number, text in sorted(rows, key=lambda row: (-row[0], row[1])):
        sys.stdout.write(f"{number:6} {text}\n")
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
