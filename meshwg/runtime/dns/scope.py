"""Whether what decides about name servers decides for this node's programs alone.

A process in a network namespace of its own may see the machine's files and services all
the same: ``ip netns exec`` gives it no others. What it told them of would be nowhere
for everybody else on the machine, who would wait for a name server that is not there.
Those who started this process show it, as far as it may look at them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
MAX_ANCESTORS = 64


def is_for_others(path: Path) -> bool:
    """Tell whether a file is also that of processes in another network than this one.

    :param path: an absolute one.
    """
    own = _PROC / "thread-self/ns/net"
    for pid in (os.getpid(), *ancestors(os.getpid())):
        other = _PROC / str(pid)
        try:
            is_here = os.path.samestat(own.stat(), (other / "ns/net").stat())
            if not is_here and _is_same(path, other / "root" / path.relative_to("/")):
                return True
        except OSError:
            # Nobody may look at it, and it is no other user's who made a namespace.
            continue
    return False


def ancestors(pid: int) -> Iterator[int]:
    """Yield who started a process, who started that one, and so on."""
    for _ in range(MAX_ANCESTORS):
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return
        # The name before it may hold anything, brackets too.
        pid = int(stat.rpartition(")")[2].split()[1])
        if not pid:
            return
        yield pid


def _is_same(path: Path, other: Path) -> bool:
    """Tell whether two paths are one file, or one that is missing in one folder."""
    if path.exists() or other.exists():
        return path.exists() and other.exists() and path.samefile(other)
    return path.parent.samefile(other.parent)
