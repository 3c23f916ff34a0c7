"""Each source with behaviour has a test file of its name, and each test file a source.

``meshwg/a/b.py`` is mirrored by ``tests/a/test_b.py``, and ``meshwg/a/__init__.py`` by
``tests/a/test_a.py``. A module without any function holds nothing but names and values,
and needs no mirror. What else has none stands in a
table with the reason; a reason that names a file under ``tests/`` must name one that
exists.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from tests.layout.sources import Module

TABLE = "tests/layout/tables.py"


def mirror_of(path: str, folders: Mapping[str, str]) -> str | None:
    """Return where the test file of a source belongs.

    :param folders: where the tests of a source folder are, by source folder.
    """
    for folder, tests in folders.items():
        if path.startswith(folder + "/"):
            inner, _, name = path.removeprefix(folder + "/").rpartition("/")
            if name == "__init__.py":
                name = (inner or folder).rpartition("/")[2] + ".py"
            return "/".join(part for part in (tests, inner, f"test_{name}") if part)
    return None


def missing(
    sources: Sequence[Module],
    tests: Sequence[Module],
    folders: Mapping[str, str],
    reasons: Mapping[str, str],
) -> Iterator[str]:
    """Yield sources without a mirror and without a reason, and reasons without need.

    :param folders: where the tests of a source folder are, by source folder.
    :param reasons: why a source, or all in a folder, has no mirror.
    """
    written = {module.path: module for module in tests}
    needed = set()
    for source in sources:
        mirror = mirror_of(source.path, folders)
        if mirror is None or not has_functions(source):
            continue
        if mirror not in written:
            excuse = _excuse(source.path, reasons)
            needed.add(excuse)
            if excuse is None:
                yield f"{source.path}: there is no {mirror}"
        elif not has_tests(written[mirror]):
            yield f"{mirror}: there is no test in it"
    for path, reason in reasons.items():
        if path not in needed:
            yield f"{TABLE}: the reason for {path} is not needed"
        for named in re.findall(r"tests/[\w/]+\.py", reason):
            if named not in written:
                yield f"{TABLE}: {path} is said to be tested by {named}, which is not"


def stray(
    sources: Sequence[Module],
    tests: Sequence[Module],
    folders: Mapping[str, str],
    reasons: Mapping[str, str],
) -> Iterator[str]:
    """Yield test files that mirror nothing, and reasons without need.

    :param reasons: why a test file, or all in a folder, mirrors no source.
    """
    mirrors = {mirror_of(source.path, folders) for source in sources}
    needed = set()
    for test in tests:
        name = test.path.rpartition("/")[2]
        if not name.startswith("test_") or test.path in mirrors:
            continue
        excuse = _excuse(test.path, reasons)
        if excuse is None:
            yield f"{test.path}: there is no source of this name"
        else:
            needed.add(excuse)
    for path in reasons:
        if path not in needed:
            yield f"{TABLE}: the reason for {path} is not needed"


def has_functions(module: Module) -> bool:
    """Return whether a module does anything."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return any(isinstance(node, functions) for node in ast.walk(module.tree))


def has_tests(module: Module) -> bool:
    """Return whether pytest would find a test in a module."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(
        isinstance(node, functions) and node.name.startswith("test_")
        for node in ast.walk(module.tree)
    )


def _excuse(path: str, reasons: Mapping[str, str]) -> str | None:
    """Return the entry of a table that is for this file, or for its folder."""
    while path and path not in reasons:
        path = path.rpartition("/")[0]
    return path or None
