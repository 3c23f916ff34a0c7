"""What SIGHUP means: a process of its own, at a terminal and without one."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from meshwg.runtime.hangup import on_hangup

async def main():
    log, over = open(sys.argv[1], "a", buffering=1), asyncio.Event()
    on_hangup(lambda: print("reload", file=log), over.set)
    print("ready", file=log)
    await over.wait()
    print("left")
    print("left", file=sys.stderr)
    print("stop", file=log)

asyncio.run(main())
"""
COMMAND = (sys.executable, "-c", PROGRAM)


def test_a_service_reads_its_settings_again(tmp_path: Path) -> None:
    process = subprocess.Popen([*COMMAND, tmp_path / "log"], start_new_session=True)
    wait_for(tmp_path / "log", "ready")

    process.send_signal(signal.SIGHUP)

    wait_for(tmp_path / "log", "reload")
    process.kill()
    process.wait()


def test_a_signal_that_comes_while_a_service_starts_is_not_lost(
    tmp_path: Path,
) -> None:
    begin = (
        "import os, signal\n"
        "from meshwg.runtime.hangup import held_hangup\n"
        "held = held_hangup()\n"
        "held.__enter__()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    command = [sys.executable, "-c", begin + PROGRAM, str(tmp_path / "log")]
    process = subprocess.Popen(command, start_new_session=True)

    wait_for(tmp_path / "log", "reload")

    process.kill()
    process.wait()


def test_a_program_at_a_terminal_does_so_too_as_long_as_it_is_there(
    tmp_path: Path,
) -> None:
    process, terminal = at_terminal(tmp_path / "log")
    os.kill(process, signal.SIGHUP)
    wait_for(tmp_path / "log", "reload")
    os.close(terminal)
    os.waitpid(process, 0)


def test_a_closed_terminal_ends_a_program_in_good_order(tmp_path: Path) -> None:
    process, terminal = at_terminal(tmp_path / "log")

    os.close(terminal)

    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert (tmp_path / "log").read_text() == "ready\nstop\n"


def test_a_program_that_ignores_it_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(["nohup", *COMMAND, tmp_path / "log"])
    wait_for(tmp_path / "log", "ready")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.kill()
    process.wait()
    assert (tmp_path / "log").read_text() == "ready\n"


def at_terminal(log: Path) -> tuple[int, int]:
    """Start the program at a terminal of its own; return its number and the other end.

    It is ready.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.execv(COMMAND[0], [*COMMAND, str(log)])
    wait_for(log, "ready")
    return process, terminal


def wait_for(log: Path, word: str) -> None:
    """Wait until a program has written a word."""
    waiting = [
        "timeout",
        "30",
        "sh",
        "-c",
        f"until grep -q {word} {log}; do sleep 0.02; done",
    ]
    subprocess.run(waiting, check=True, stderr=subprocess.DEVNULL)
