"""Imports go one way, pure code stays pure, and tests mirror the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Higher layers may import lower ones. Names that share a number do not import each
# other, except within one package.
LAYERS = {
    "meshwg.cli": 90,
    "meshwg.__main__": 95,
    "meshwg.runtime": 80,
    "meshwg.status": 75,
    "meshwg.node": 70,
    "meshwg.peer": 60,
    "meshwg.whereabouts": 60,
    "meshwg.wireguard": 50,
    "meshwg.nat": 50,
    "meshwg.path": 50,
    "meshwg.relay": 50,
    "meshwg.packet": 8,
    "meshwg.control": 50,
    "meshwg.wire": 40,
    "meshwg.config": 30,
    "meshwg.noise": 20,
    "meshwg.keys": 15,
    "meshwg.nattypes": 10,
    "meshwg.limits": 10,
    "meshwg.transmit": 10,
    "meshwg.agenda": 10,
    "meshwg.errors": 5,
    "meshwg": 0,
}
COORDINATOR_MAY_USE = {"wire", "noise", "keys", "limits", "transmit", "errors"}
COORDINATOR_SHELL_MAY_USE = ("meshwg.runtime.udp",)
COORDINATOR_SHELL = {"runtime", "store", "cli", "__main__", "migrations"}
# The one part of the node's shell that the coordinator's shell shares: batched UDP.
SHARED_SHELL = "meshwg.runtime.udp"

IMPURE = {"asyncio", "socket", "time", "random", "secrets", "select", "threading"}
ONLY_IN = {
    "pydantic": ("meshwg.wire", "meshwg.config"),
    "pyroute2": ("meshwg.runtime",),
    "aiohttp": ("meshwg.runtime",),
    "cryptography": ("meshwg.keys", "meshwg.noise", "meshwg.wireguard"),
    "aioice": ("meshwg.wire.stun",),
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(p for p in parts if p != "__init__"), path


def imports(path: Path) -> set[str]:
    """Return the dotted names a module imports, in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def layer_of(name: str) -> tuple[str, int]:
    """Return the longest layer name that ``name`` belongs to, and its height."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in LAYERS and (prefix != "meshwg" or length == len(parts)):
            return prefix, LAYERS[prefix]
    return name, -1


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize(("name", "path"), list(modules("meshwg")))
def test_imports_go_down_only(name: str, path: Path) -> None:
    own, height = layer_of(name)
    assert height >= 0, f"{name} belongs to no layer of tests/test_layout.py"
    for target in imports(path):
        assert not within(target, "coordinator"), f"{name} imports {target}"
        if not within(target, "meshwg"):
            continue
        layer, other = layer_of(target)
        if layer not in (own, "meshwg"):
            assert other < height, f"{name} ({own}) imports {target} ({layer})"


@pytest.mark.parametrize(("name", "path"), list(modules("meshwg")))
def test_pure_code_touches_no_clock_socket_or_loop(name: str, path: Path) -> None:
    if layer_of(name)[0] in ("meshwg.runtime", "meshwg.cli", "meshwg.__main__"):
        return
    impure = {target.split(".")[0] for target in imports(path)} & IMPURE
    assert not impure, f"{name} imports {impure}"


@pytest.mark.parametrize(("name", "path"), list(modules("meshwg")))
def test_third_party_packages_stay_where_they_belong(name: str, path: Path) -> None:
    for target in imports(path):
        homes = ONLY_IN.get(target.split(".")[0])
        if homes is not None:
            assert any(within(name, home) for home in homes), f"{name}: {target}"


@pytest.mark.parametrize(("name", "path"), list(modules("coordinator")))
def test_the_coordinator_uses_only_shared_leaves(name: str, path: Path) -> None:
    shell = len(name.split(".")) > 1 and name.split(".")[1] in COORDINATOR_SHELL
    for target in imports(path):
        if within(target, "meshwg") and target != "meshwg":
            part = target.split(".")[1]
            if shell and any(within(target, one) for one in COORDINATOR_SHELL_MAY_USE):
                continue
            assert part in COORDINATOR_MAY_USE | {"__version__"}, f"{name}: {target}"
        if not shell:
            assert target.split(".")[0] not in IMPURE, f"{name} imports {target}"
