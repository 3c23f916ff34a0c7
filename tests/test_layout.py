"""Imports go one way, pure code stays pure, and tests mirror the sources.

The rules are in ``tests/layout``, where tests show what they find; what they allow is
in ``tests/layout/tables.py``. Here they are applied to the sources as they are.
"""

from collections.abc import Iterable

import pytest

from tests.layout import layers, mirrors, order, purity, sizes, tables
from tests.layout.sources import load

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


def assert_none(findings: Iterable[str]) -> None:
    """Fail with all findings, each on a line of its own."""
    found = list(dict.fromkeys(findings))
    if found:
        pytest.fail("\n".join(["", *found]), pytrace=False)
