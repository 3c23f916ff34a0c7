"""The rules about imports find what they are there for, and nothing else."""

import pytest

from tests.layout import layers
from tests.layout.sources import Module, parse

ROWS = (
    ("a.shell",),
    ("a.left", "a.right.one a.right.two"),
    ("a.base",),
    ("a",),
)


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("a.base", "import a.shell", "imports a.shell, which goes up"),
        ("a.base", "from a import shell", "imports a.shell, which goes up"),
        ("a.base.x", "from a.left.y import z", "imports a.left.y.z, which goes up"),
        ("a.left", "from a.right.one import x", "which goes aside"),
        ("a.left", "def f():\n    import a.right.two", "which goes aside"),
        ("a.left", "if TYPE_CHECKING:\n    import a.shell", "which goes up"),
        ("a", "from a.base import x", "which goes up"),
        ("a.lost", "", "is in no layer"),
        ("a.right", "", "is in no layer"),
    ],
)
def test_an_import_that_goes_up_or_aside_is_found(
    name: str, text: str, finding: str
) -> None:
    (found,) = layers.breaches([parse(text, name)], ROWS)

    assert finding in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.shell.x", "from a.left import y\nimport a.right.one, a.base"),
        ("a.left.x", "from a.left.y import z"),
        ("a.right.one", "from a.right import two"),
        ("a.base", "from a import __version__"),
        ("a.base", "import abc, asyncio, b.shell"),
    ],
)
def test_an_import_that_goes_down_passes(name: str, text: str) -> None:
    assert not list(layers.breaches([parse(text, name)], ROWS))


def test_a_layer_without_modules_is_found() -> None:
    modules = [parse("", name) for name in ("a", "a.shell.x", "a.left", "a.base")]

    found = list(layers.unused(modules, ROWS))

    assert [each.split()[-1] for each in found] == ["a.right.one", "a.right.two"]


def test_a_relative_import_is_found() -> None:
    assert list(layers.relative([parse("from . import x"), parse("from .a import b")]))
    assert not list(layers.relative([parse("from meshwg import x")]))


def test_only_listed_modules_are_imported_from_another_tree() -> None:
    allowed = {"b": ("a.base",), "b.shell": ("a.shell.udp",)}

    def findings(name: str, text: str) -> list[str]:
        return list(layers.foreign([parse(text, name)], ("a", "b"), allowed))

    assert findings("b.x", "from a.shell.udp import x")
    assert findings("b.shell", "from a.shell import tcp")
    assert findings("a.base", "import b")
    assert findings("b", "import a")
    assert not findings("b.x", "from a.base import x\nfrom a import base\nimport b.y")
    assert not findings("b.shell.x", "from a.shell.udp import x\nimport a.base, os")


def test_modules_that_import_each_other_are_found() -> None:
    direct = modules(one="from a import two", two="from a.one import x")
    around = modules(one="import a.two", two="import a.three", three="import a.one")
    hidden = modules(
        one="if TYPE_CHECKING:\n    import a.two", two="def f():\n    import a.one"
    )

    for each in (direct, around, hidden):
        (found,) = layers.cycles(each)
        assert "a.one and a." in found
    (itself,) = layers.cycles(modules(one="import a.one"))
    assert "a.one import each other" in itself


def test_modules_that_share_imports_are_not_a_cycle() -> None:
    diamond = modules(
        one="import a.two, a.three", two="import a.four", three="import a.four", four=""
    )
    package = [parse("from a.b.c import d", "a.b"), parse("d = 1", "a.b.c")]

    assert not list(layers.cycles(diamond))
    assert not list(layers.cycles(package))


def modules(**texts: str) -> list[Module]:
    return [parse(text, f"a.{name}") for name, text in texts.items()]
