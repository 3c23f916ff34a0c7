"""The programs that a tunnel is measured with: ours, on each data path, and others.

Debian's ``wireguard-go`` is from 2022. Today's, and boringtun, are built where Go and
cargo are, once, into a cache folder outside of the checkout.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meshwg.errors import MeshError
from meshwg.runtime.core import CORE, PYTHON, VARIABLE, chosen

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "meshwg-bench"
GO_MODULE = "golang.zx2c4.com/wireguard@latest"
CRATE = "boringtun-cli"
GO_INSTALL = ("go", "install", GO_MODULE)
CARGO_INSTALL = ("cargo", "install", "--locked", "--root", str(CACHE), CRATE)
BUILD_TIMEOUT = 900
"""Seconds; boringtun takes three minutes on a busy machine."""

MESHWG_WG = (sys.executable, "-m", "meshwg.cli.wg")
TODAY, DEBIAN, BORINGTUN = "wireguard-go today", "wireguard-go Debian", "boringtun"


@dataclass(frozen=True, slots=True)
class Program:
    """A userspace WireGuard that is run as ``COMMAND IFNAME``."""

    name: str
    """Two words, which stand below each other in the head of a table."""
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def ours() -> list[Program]:
    """Return ``meshwg-wg`` on each data path that there is, the fastest first."""
    return [
        Program(f"meshwg-wg {path}", (*MESHWG_WG, "-f"), {VARIABLE: path})
        for path in data_paths()
    ]


def data_paths() -> list[str]:
    """Return the names of the data paths that this installation has."""
    return [CORE, PYTHON] if _has_core() else [PYTHON]


@contextmanager
def data_path(name: str) -> Iterator[None]:
    """Let all programs that the block starts use one data path."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def others() -> list[Program]:
    """Return the programs of others that are here, or can be built."""
    # By default it takes on the user who logged in, and there is none.
    boringtun = _built(CACHE / "bin" / CRATE, CARGO_INSTALL)
    found = [
        Program(TODAY, _built(CACHE / "bin" / "wireguard", GO_INSTALL), _FOREGROUND),
        Program(DEBIAN, _installed("wireguard-go"), _FOREGROUND),
        Program(BORINGTUN, (*boringtun, *_AS_ROOT) if boringtun else ()),
    ]
    return [each for each in found if each.command]


_AS_ROOT = ("--disable-drop-privileges",)
_FOREGROUND = {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}


def _has_core() -> bool:
    """Return whether the core is installed, and fits this package."""
    with data_path(CORE):
        try:
            return chosen() == CORE
        except MeshError:
            return False


def _installed(name: str) -> tuple[str, ...]:
    return (name, "-f") if shutil.which(name) else ()


def _built(path: Path, build: Sequence[str]) -> tuple[str, ...]:
    """Return how a program is run that is built if need be; nothing if it cannot."""
    if not path.exists():
        if shutil.which(build[0]) is None:
            print(f"  no {build[0]}, so without {path.name}", flush=True)
            return ()
        print(f"  {' '.join(build)} (minutes, once)", flush=True)
        _build(build)
    return (str(path), "-f") if path.exists() else ()


def _build(command: Sequence[str]) -> None:
    try:
        subprocess.run(
            command,
            env={**os.environ, "GOBIN": str(CACHE / "bin")},
            capture_output=True,
            check=True,
            text=True,
            timeout=BUILD_TIMEOUT,
        )
    except subprocess.CalledProcessError as error:
        print(f"  it failed: {error.stderr.strip()[-300:]}", flush=True)
    except subprocess.TimeoutExpired:
        print(f"  it took more than {BUILD_TIMEOUT} s", flush=True)
