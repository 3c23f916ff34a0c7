"""Imports go one way, pure code stays pure, and tests mirror the sources.

The rules are in ``tests/layout``, where tests show what they find; what they allow is
in ``tests/layout/tables.py``. Here they are applied to the sources as they are, and to
the same sources with a breach in one of them.
"""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from tests.layout import layers, mirrors, order, purity, sizes, tables
from tests.layout.sources import Module, load

MODULES = {name: load(name) for name in ("meshwg", "coordinator", "netns-lab", "bench")}
TESTS = load("tests")
PRODUCT = MODULES["meshwg"] + MODULES["coordinator"]
ALL = PRODUCT + MODULES["netns-lab"] + MODULES["bench"]
PURE = [module for module in PRODUCT if purity.is_pure(module, tables.IMPURE)]

LAYERS = {
    "meshwg": tables.MESHWG_LAYERS,
    "coordinator": tables.COORDINATOR_LAYERS,
    "netns-lab": tables.LAB_LAYERS,
}


@pytest.mark.parametrize("tree", LAYERS)
def test_imports_go_down_only(tree: str) -> None:
    assert_none(layers.breaches(MODULES[tree], LAYERS[tree]))
    assert_none(layers.unused(MODULES[tree], LAYERS[tree]))


@pytest.mark.parametrize("tree", MODULES)
def test_no_modules_import_each_other(tree: str) -> None:
    assert_none(layers.cycles(MODULES[tree]))


def test_imports_across_trees_are_the_few_that_are_meant() -> None:
    assert_none(layers.foreign(ALL, tables.TREES, tables.ACROSS))
    assert_none(layers.relative(ALL))


def test_pure_code_imports_from_a_whitelist() -> None:
    more = tables.MORE_STANDARD
    assert_none(purity.unlisted(PURE, tables.TREES, tables.PURE_STANDARD, more))
    assert_none(purity.unused(PURE, more))


def test_other_peoples_packages_stay_where_they_belong() -> None:
    assert_none(purity.astray(PRODUCT, tables.TREES, tables.HOMES))
    homes: dict[str, list[str]] = {}
    for package, places in tables.HOMES.items():
        for place in places:
            homes.setdefault(place, []).append(package)
    assert_none(purity.unused(PRODUCT, homes))


def test_pure_code_touches_no_file_clock_or_environment() -> None:
    excused = tables.AT_IMPORT
    assert_none(purity.impure([each for each in PURE if each.path not in excused]))


def test_pure_code_does_not_depend_on_the_order_of_sets() -> None:
    shell = [module for module in PRODUCT if module not in PURE]
    assert_none(order.iterated_sets(PURE, shell, tables.SETS))


def test_nothing_reads_a_clock_or_the_environment_when_it_is_imported() -> None:
    assert_none(purity.at_import(ALL, tables.AT_IMPORT))


def test_every_source_with_behaviour_has_a_test_file_of_its_name() -> None:
    sources = [module for module in ALL if not module.path.startswith("bench/")]
    assert_none(mirrors.missing(sources, TESTS, tables.MIRRORED, tables.UNMIRRORED))


def test_every_test_file_has_a_source_of_its_name() -> None:
    assert_none(mirrors.stray(ALL, TESTS, tables.MIRRORED, tables.BEHAVIOURS))


def test_functions_are_short_and_simple() -> None:
    assert_none(sizes.too_big(ALL, 60, 15, tables.BIG))


@pytest.mark.parametrize("tree", MODULES)
def test_no_two_classes_of_a_tree_have_one_name(tree: str) -> None:
    assert_none(sizes.twice(MODULES[tree], tables.NAMED_TWICE, tree))


def test_a_breach_of_the_layers_is_found() -> None:
    text = "from coordinator.store.store import Store"
    sources = seeded(MODULES["coordinator"], "coordinator/credentials.py", text)

    (found,) = layers.breaches(sources, LAYERS["coordinator"])

    assert found.endswith("imports coordinator.store.store.Store, which goes up")


def test_a_circle_of_imports_is_found() -> None:
    text = "def f():\n    from netlab import page"
    sources = seeded(MODULES["netns-lab"], "netns-lab/netlab/results.py", text)

    (found,) = layers.cycles(sources)

    assert "netlab.page and netlab.results import each other" in found


def test_a_breach_of_the_whitelist_is_found() -> None:
    text = "import os, datetime, uuid, logging"
    sources = seeded(PURE, "meshwg/path/score.py", text)

    found = purity.unlisted(
        sources, tables.TREES, tables.PURE_STANDARD, tables.MORE_STANDARD
    )

    assert [each.split()[2] for each in found] == ["os", "datetime", "uuid", "logging"]


def test_a_file_that_is_opened_in_pure_code_is_found() -> None:
    sources = seeded(PURE, "meshwg/path/score.py", "def f():\n    open('/dev/null')")

    found = purity.impure([s for s in sources if s.path not in tables.AT_IMPORT])

    assert [each.partition(": ")[2] for each in found] == ["uses open in pure code"]


def test_a_look_at_the_environment_at_import_is_found() -> None:
    text = "import os\nDEBUG = os.environ.get('DEBUG')"
    sources = seeded(ALL, "meshwg/runtime/clock.py", text)

    (found,) = purity.at_import(sources, tables.AT_IMPORT)

    assert "meshwg/runtime/clock.py" in found


def test_a_loop_over_a_set_is_found() -> None:
    text = "def f(network: AllowedIPs):\n    x = set(network.of(1))\n    return [*x]"
    sources = seeded(PURE, "meshwg/wireguard/session.py", text)
    shell = [module for module in PRODUCT if module not in PURE]

    (found,) = order.iterated_sets(sources, shell, tables.SETS)

    assert found.endswith("the set x is unpacked")


def test_a_renamed_test_file_is_found_from_both_sides() -> None:
    renamed = [
        replace(test, path="tests/path/test_scores.py")
        if test.path == "tests/path/test_score.py"
        else test
        for test in TESTS
    ]
    sources = [module for module in ALL if not module.path.startswith("bench/")]

    found = [
        *mirrors.missing(sources, renamed, tables.MIRRORED, tables.UNMIRRORED),
        *mirrors.stray(ALL, renamed, tables.MIRRORED, tables.BEHAVIOURS),
    ]

    assert found == [
        "meshwg/path/score.py: there is no tests/path/test_score.py",
        "tests/path/test_scores.py: there is no source of this name",
    ]


def test_a_second_class_of_one_name_is_found() -> None:
    (name, *_) = sizes.classes(MODULES["meshwg"])
    text = f"class {name}: ..."
    sources = seeded(MODULES["meshwg"], "meshwg/path/score.py", text)

    (found,) = sizes.twice(sources, tables.NAMED_TWICE, "meshwg")

    assert f"2 classes are {name}" in found


def seeded(modules: Sequence[Module], path: str, text: str) -> list[Module]:
    """Return the modules with a text at the end of one of them."""
    assert path in [module.path for module in modules]
    return [
        replace(module, tree=ast.parse(f"{ast.unparse(module.tree)}\n{text}"))
        if module.path == path
        else module
        for module in modules
    ]


def assert_none(findings: Iterable[str]) -> None:
    """Fail with all findings, each on a line of its own."""
    found = list(dict.fromkeys(findings))
    if found:
        pytest.fail("\n".join(["", *found]), pytrace=False)
