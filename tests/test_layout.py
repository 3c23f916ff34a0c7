"""Imports go one way, pure code stays pure, and tests mirror the sources.

The rules are in ``tests/layout``, where tests show what they find; what they allow is
in ``tests/layout/tables.py``. Here they are applied to the sources as they are, and to
the same sources with a breach in one of them.
"""

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest

from tests.layout import layers, mirrors, order, purity, sizes, tables
from tests.layout.sources import ROOT, Module, load

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


def test_third_party_packages_are_imported_only_where_allowed() -> None:
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


def test_the_design_names_files_that_exist() -> None:
    text = (ROOT / "docs/design.md").read_text()
    assert_none(unknown_files(text))
    assert list(unknown_files("`node/traffic.py`, `node/nowhere.py`, `lost/`")) == [
        "docs/design.md names node/nowhere.py, which is not there",
        "docs/design.md names lost/, which is not there",
    ]


# The same rules and tables, and the same sources with a breach in one of them.

Rule = Callable[[Sequence[Module]], Iterable[str]]


def test_a_breach_of_the_layers_is_found() -> None:
    found = news(
        lambda modules: layers.breaches(modules, LAYERS["coordinator"]),
        MODULES["coordinator"],
        "coordinator/credentials.py",
        "from coordinator.store.store import Store",
    )

    assert found == ["imports coordinator.store.store.Store, which goes up"]


def test_an_import_cycle_is_found() -> None:
    text = "def f():\n    from netlab import page"
    path = "netns-lab/netlab/results.py"

    found = news(layers.cycles, MODULES["netns-lab"], path, text)

    assert found == ["netlab.page and netlab.results import each other"]


def test_a_breach_of_the_whitelist_is_found() -> None:
    standard, more = tables.PURE_STANDARD, tables.MORE_STANDARD

    found = news(
        lambda modules: purity.unlisted(modules, tables.TREES, standard, more),
        PURE,
        "meshwg/path/score.py",
        "import os, datetime, uuid, logging",
    )

    assert [each.split()[1] for each in found] == ["os", "datetime", "uuid", "logging"]


def test_a_file_that_is_opened_in_pure_code_is_found() -> None:
    text = "def f():\n    open('/dev/null')"

    found = news(purity.impure, PURE, "meshwg/path/score.py", text)

    assert found == ["uses open in pure code"]


def test_a_read_of_the_environment_at_import_is_found() -> None:
    found = news(
        lambda modules: purity.at_import(modules, tables.AT_IMPORT),
        ALL,
        "meshwg/runtime/clock.py",
        "import os\nDEBUG = os.environ.get('DEBUG')",
    )

    assert found == ["reads os.environ when it is imported"]


def test_a_loop_over_a_set_is_found() -> None:
    shell = [module for module in PRODUCT if module not in PURE]

    found = news(
        lambda modules: order.iterated_sets(modules, shell, tables.SETS),
        PURE,
        "meshwg/wireguard/session.py",
        "def f(numbers: frozenset[int]):\n    return [*numbers]",
    )

    assert found == ["the set numbers is unpacked"]


def test_a_renamed_test_file_is_found_from_both_sides() -> None:
    before, after = "tests/path/test_score.py", "tests/path/test_scores.py"
    tests = [replace(t, path=after) if t.path == before else t for t in TESTS]
    sources = [module for module in ALL if not module.path.startswith("bench/")]

    found = {
        *mirrors.missing(sources, tests, tables.MIRRORED, tables.UNMIRRORED),
        *mirrors.stray(ALL, tests, tables.MIRRORED, tables.BEHAVIOURS),
    }

    assert found >= {
        f"meshwg/path/score.py: there is no {before}",
        f"{after}: there is no source of this name",
    }


def test_a_function_that_grows_is_found() -> None:
    text = "def f():\n" + "    x = 1\n" * 60

    found = news(
        lambda modules: sizes.too_big(modules, 60, 15, tables.BIG),
        ALL,
        "meshwg/path/score.py",
        text,
    )

    assert found == ["f has 61 lines and a complexity of 1"]


def test_a_second_class_of_the_same_name_is_found() -> None:
    found = news(
        lambda modules: sizes.twice(modules, tables.NAMED_TWICE, "meshwg"),
        MODULES["meshwg"],
        "meshwg/path/score.py",
        "class UdpSocket: ...",
    )

    assert len(found) == 1
    assert found[0].startswith("2 classes are UdpSocket")


def unknown_files(text: str) -> Iterable[str]:
    """Yield the files and folders that a text names in code, and that nobody has.

    They are named from the top, from a tree, or by their last parts.
    """
    trees = ("meshwg", "coordinator", "tests", "netns-lab", "bench", "docs")
    known = [
        f"/{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}"
        for tree in trees
        for path in [ROOT / tree, *(ROOT / tree).rglob("*")]
    ]
    for name in re.findall(r"`((?:[\w-]+/)*(?:[\w-]+/|[\w-]+\.(?:py|md)))`", text):
        if not any(path.endswith(f"/{name}") for path in known):
            yield f"docs/design.md names {name}, which is not there"


def news(rule: Rule, modules: Sequence[Module], path: str, text: str) -> list[str]:
    """Return what a rule finds, without its place, once a text is added to a file."""
    assert path in [module.path for module in modules]
    seeded = [
        replace(module, tree=ast.parse(f"{ast.unparse(module.tree)}\n{text}"))
        if module.path == path
        else module
        for module in modules
    ]
    clean = {without_place(each) for each in rule(modules)}
    found = [without_place(each) for each in rule(seeded)]
    return [each for each in found if each not in clean]


def without_place(finding: str) -> str:
    """Return a finding without its path and line: a breach moves the others."""
    return finding.partition(": ")[2]


def assert_none(findings: Iterable[str]) -> None:
    """Fail with all findings, each on a line of its own."""
    found = list(dict.fromkeys(findings))
    if found:
        pytest.fail("\n".join(["", *found]), pytrace=False)
