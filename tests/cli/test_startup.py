"""What is imported is left alone by the garbage collector, and only that."""

import subprocess
import sys

import pytest

PROGRAM = """
import gc
from meshwg.cli.startup import kept
before = gc.get_freeze_count()
with kept():
    print(gc.isenabled())
    import meshwg.wire.control
print(gc.isenabled(), gc.get_freeze_count() > before + 1000)
later = [object()]
later.append(later)
del later
print(gc.collect() > 0)
"""


def test_what_is_imported_is_kept_and_garbage_is_collected_afterwards() -> None:
    assert shown(PROGRAM) == ["False", "True True", "True"]


@pytest.mark.parametrize("first", ["", "gc.disable()"])
def test_the_collector_is_on_afterwards_only_if_it_was(first: str) -> None:
    program = f"""
import gc
from meshwg.cli.startup import kept
{first}
before = gc.isenabled()
try:
    with kept():
        raise ImportError
except ImportError:
    print(gc.isenabled() == before)
"""
    assert shown(program) == ["True"]


def shown(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()
