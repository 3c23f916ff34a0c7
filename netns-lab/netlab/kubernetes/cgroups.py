"""Control groups: one for each node of a cluster, with everything its kubelet makes.

They are the one thing of a node that does not go with its namespaces. Both versions
are known: with version 1 there is a tree for each controller.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from netlab import registry

ROOT = Path("/sys/fs/cgroup")
PREFIX = "netlab-"
REMOVED_WITHIN = 10.0
"""Seconds that the processes of a node have to end once they are killed."""


def name_of(namespace: str) -> str:
    """Return the name of the group of the node with this namespace."""
    return PREFIX + namespace


def make(name: str, root: Path = ROOT) -> None:
    """Make the group in all trees."""
    for tree in _trees(root):
        (tree / name).mkdir(exist_ok=True)
    # A group of version 1 can hold nothing before it has processors and memory.
    for what in ("cpuset.cpus", "cpuset.mems"):
        with contextlib.suppress(FileNotFoundError):
            text = (root / "cpuset" / what).read_text()
            (root / "cpuset" / name / what).write_text(text)


def remove(name: str, root: Path = ROOT, within: float = REMOVED_WITHIN) -> None:
    """Remove the group with all groups below it, as soon as no process is in them."""
    deadline = time.monotonic() + within
    for tree in _trees(root):
        for group in _deepest_first(tree / name):
            while not _is_removed(group) and time.monotonic() < deadline:
                time.sleep(0.01)


def clean(root: Path = ROOT) -> None:
    """Remove what killed labs left: their processes have ended with their records."""
    known = tuple(PREFIX + record.prefix + "-" for record in registry.records())
    left = {
        group.name
        for tree in _trees(root)
        for group in tree.glob(PREFIX + "*")
        if group.is_dir() and not group.name.startswith(known)
    }
    for name in sorted(left):
        remove(name, root)


def _trees(root: Path) -> list[Path]:
    """Return the root of each tree of groups."""
    if (root / "cgroup.controllers").exists():
        return [root]
    # Both versions may be mounted: then a kubelet has groups in the tree of version 2,
    # too, without controllers.
    return sorted(
        each for each in root.iterdir() if each.is_dir() and not each.is_symlink()
    )


def _deepest_first(group: Path) -> Iterator[Path]:
    if group.is_dir():
        for below in sorted(group.iterdir()):
            if below.is_dir():
                yield from _deepest_first(below)
        yield group


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
