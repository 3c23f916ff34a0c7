"""What importing the package does to its process: no more than it needs."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SHOW = "import meshwg, os; print(os.environ['OPENSSL_ia32cap'])"

NODE = (
    "meshwg.cli.group",
    "meshwg.cli.node",
    "meshwg.config",
    "meshwg.runtime.daemon",
    "meshwg.runtime.packetloop",
)
"""What ``meshwg node`` imports."""
LATER = ("meshwg.runtime.dns.resolved",)
"""What it imports on some machines."""
COMMANDS = ("meshwg.cli.group", "meshwg.cli.status", "meshwg.cli.netcheck")

LIST = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""

NEVER_NEEDED = {"email", "xml", "html", "sqlite3", "multiprocessing", "unittest"}
"""Large packages of the standard library that others like to bring along."""
PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, ":~0x200000"), ("", ""), (":~0x10000", ":~0x10000")],
)
def test_openssl_is_kept_from_its_slow_path_unless_the_user_configured_it(
    before: str | None, after: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENSSL_ia32cap"}
    if before is not None:
        environment["OPENSSL_ia32cap"] = before

    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.strip() == after


def test_a_node_imports_nothing_that_it_does_not_need() -> None:
    """Each of the packages that it once imported cost it up to 12 MB and 0.2 s."""
    imported = top_names(NODE)

    assert imported - set(sys.stdlib_module_names) <= {
        "meshwg",
        *("_cffi_backend", "_openssl"),  # Of cryptography.
        *dependencies(),
    }
    assert imported.isdisjoint(NEVER_NEEDED)


def test_commands_import_neither_an_event_loop_nor_cryptography() -> None:
    imported = top_names(COMMANDS)

    assert imported - set(sys.stdlib_module_names) <= {"meshwg", "click"}
    assert "asyncio" not in imported


def test_what_is_installed_with_a_node_is_imported_by_it() -> None:
    named = {each.replace("-", "_") for each in dependencies()}

    assert named <= top_names((*NODE, *LATER))


def test_a_node_imports_what_is_for_names_if_it_has_names() -> None:
    assert not [each for each in names(NODE) if "dns" in each.split(".")]


def test_a_node_imports_dbus_where_that_decides_about_names() -> None:
    assert "dbus_fast" not in top_names((*NODE, "meshwg.runtime.dns.service"))


def top_names(modules: tuple[str, ...]) -> set[str]:
    """Return what a fresh program imports with these modules, packages as a whole."""
    return {name.partition(".")[0] for name in names(modules)}


def names(modules: tuple[str, ...]) -> list[str]:
    """Return what a fresh program imports with these modules."""
    listed = subprocess.run(
        [sys.executable, "-c", LIST, *modules],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(listed.stdout)
    return found


def dependencies() -> list[str]:
    """Return the packages that are installed with a node."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    return [each.partition(">")[0] for each in project["dependencies"]]
