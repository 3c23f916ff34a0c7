"""Going into the background, tried in programs of their own."""

import subprocess
import sys

PROLOGUE = """
import os, sys
from meshwg.errors import ConfigError, MeshError
from meshwg.runtime.background import fork
"""


def test_the_parent_returns_when_the_child_is_ready() -> None:
    result = run("""
reading, writing = os.pipe()
parent = fork(keep_output=False)
if parent is None:
    os.close(writing)
    print("parent", os.read(reading, 100).decode())
else:
    os.write(writing, b"worked first")
    parent.ready()
    os._exit(0)
""")
    assert result == (0, "parent worked first\n", "")


def test_the_child_is_in_a_session_of_its_own_and_holds_no_directory() -> None:
    result = run("""
reading, writing = os.pipe()
parent = fork(keep_output=False)
if parent is None:
    print(os.read(reading, 100).decode())
else:
    facts = os.getsid(0) == os.getpid(), os.getcwd(), os.readlink("/proc/self/fd/1")
    os.write(writing, repr(facts).encode())
    parent.ready()
    os._exit(0)
""")
    assert result == (0, "(True, '/', '/dev/null')\n", "")


def test_output_can_be_kept() -> None:
    result = run("""
print("before")
parent = fork(keep_output=True)
if parent is not None:
    print("from the child", flush=True)
    parent.ready()
    os._exit(0)
""")
    assert result == (0, "before\nfrom the child\n", "")


def test_a_failure_of_the_child_is_the_parents() -> None:
    result = run("""
try:
    parent = fork(keep_output=False)
    if parent is not None:
        parent.failed(ConfigError("There is no such thing: bring it"))
        os._exit(0)
except MeshError as error:
    print(error)
    sys.exit(error.exit_status)
""")
    assert result == (2, "There is no such thing: bring it\n", "")


def test_a_child_that_dies_silently_is_a_failure() -> None:
    result = run("""
try:
    parent = fork(keep_output=False)
    if parent is not None:
        os._exit(0)
except MeshError as error:
    print(error)
    sys.exit(error.exit_status)
""")
    assert result[0] == 1
    assert "run it in the foreground" in result[1]


def test_a_parent_that_was_killed_does_not_stop_the_child() -> None:
    result = run("""
import signal, time
reading, writing = os.pipe()
if os.fork() == 0:
    parent = fork(keep_output=False)
    waiting = os.getppid()
    os.kill(waiting, signal.SIGKILL)
    while os.getppid() == waiting:
        time.sleep(0.001)
    parent.ready()
    os.write(writing, b"goes on")
    os._exit(0)
os.close(writing)
print(os.read(reading, 100).decode())
os.wait()
""")
    assert result == (0, "goes on\n", "")


def run(program: str) -> tuple[int, str, str]:
    """Return the exit status and the output of a program."""
    result = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return result.returncode, result.stdout, result.stderr
