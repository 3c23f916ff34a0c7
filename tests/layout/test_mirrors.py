"""The rules about mirrors find what they are there for, and nothing else."""

from collections.abc import Mapping

import pytest

from tests.layout import mirrors
from tests.layout.sources import parse

FOLDERS = {"meshwg": "tests", "netns-lab/netlab": "tests/lab"}
CODE, TEST = "def f(): ...", "def test_f(): ..."


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        ("meshwg/a.py", "tests/test_a.py"),
        ("meshwg/a/b.py", "tests/a/test_b.py"),
        ("meshwg/a/b/__init__.py", "tests/a/b/test_b.py"),
        ("meshwg/__init__.py", "tests/test_meshwg.py"),
        ("netns-lab/netlab/a.py", "tests/lab/test_a.py"),
        ("netns-lab/netlab/__init__.py", "tests/lab/test_netlab.py"),
        ("bench/a.py", None),
    ],
)
def test_a_mirror_has_the_name_and_place_of_its_source(
    source: str, mirror: str | None
) -> None:
    assert mirrors.mirror_of(source, FOLDERS) == mirror


def test_a_source_without_a_mirror_is_found() -> None:
    (found,) = missing({"meshwg.a.b": CODE}, {"tests.a.test_c": TEST})

    assert found == "meshwg/a/b.py: there is no tests/a/test_b.py"


def test_a_mirror_without_a_test_is_found() -> None:
    (found,) = missing({"meshwg.b": CODE}, {"tests.test_b": "def f(): ..."})

    assert found == "tests/test_b.py: there is no test in it"


def test_a_source_with_a_mirror_or_without_behaviour_passes() -> None:
    sources = {"meshwg.a": CODE, "meshwg.events": "class A:\n    x: int = 1"}

    assert not missing(sources, {"tests.test_a": f"class TestA:\n    {TEST}"})


def test_a_reason_stands_for_a_mirror_as_long_as_it_is_needed() -> None:
    sources = {"meshwg.a": CODE, "meshwg.b.c": CODE, "meshwg.b.d": CODE}
    reasons = {"meshwg/a.py": "so", "meshwg/b": "so"}

    assert not missing(sources, {}, reasons)
    (found,) = missing(sources, {"tests.test_a": TEST}, reasons)
    assert "the reason for meshwg/a.py is not needed" in found


def test_a_reason_may_not_name_tests_that_are_gone() -> None:
    reasons = {"meshwg/a.py": "tests/interop/test_x.py runs it"}

    assert not missing({"meshwg.a": CODE}, {"tests.interop.test_x": TEST}, reasons)
    (found,) = missing({"meshwg.a": CODE}, {}, reasons)
    assert "tests/interop/test_x.py, which is not" in found


def test_a_renamed_test_file_is_found() -> None:
    (found,) = stray({"meshwg.a": CODE}, {"tests.test_aa": TEST})

    assert found == "tests/test_aa.py: there is no source of this name"


def test_mirrors_and_helpers_are_not_stray() -> None:
    tests = {"tests.a.test_b": TEST, "tests.a.conftest": CODE, "tests.a.world": CODE}

    assert not stray({"meshwg.a.b": CODE}, tests)


def test_a_test_of_a_whole_behaviour_passes_as_long_as_it_exists() -> None:
    reasons = {"tests/interop": "so", "tests/a/test_hostile.py": "so"}
    tests = {"tests.interop.test_x": TEST, "tests.a.test_hostile": TEST}

    assert not stray({}, tests, reasons)
    (found,) = stray({"meshwg.a.hostile": CODE}, tests, reasons)
    assert "the reason for tests/a/test_hostile.py is not needed" in found


def missing(
    sources: Mapping[str, str],
    tests: Mapping[str, str],
    reasons: Mapping[str, str] | None = None,
) -> list[str]:
    return list(
        mirrors.missing(
            [parse(text, name) for name, text in sources.items()],
            [parse(text, name) for name, text in tests.items()],
            FOLDERS,
            reasons or {},
        )
    )


def stray(
    sources: Mapping[str, str],
    tests: Mapping[str, str],
    reasons: Mapping[str, str] | None = None,
) -> list[str]:
    return list(
        mirrors.stray(
            [parse(text, name) for name, text in sources.items()],
            [parse(text, name) for name, text in tests.items()],
            FOLDERS,
            reasons or {},
        )
    )
