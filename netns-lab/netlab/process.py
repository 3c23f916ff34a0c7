"""Programs on a machine of a lab: commands and long-running processes."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from netlab.errors import CommandFailed, NotReady
from netlab.netns import Namespace

Arguments = Sequence[str | Path]

RUN_TIMEOUT = 60.0
"""Seconds that a command may take by default."""
STOP_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
POLL = 0.01


def run(
    namespace: Namespace,
    arguments: Arguments,
    *,
    check: bool = True,
    timeout: float = RUN_TIMEOUT,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to completion and return what it printed.

    :raises CommandFailed: with the last lines it printed, if ``check`` is set and its
        status is not 0, or if it does not end within ``timeout`` seconds.
    """
    process = namespace.call(
        lambda: subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(env),
            cwd=cwd,
            start_new_session=True,
            text=True,
        )
    )
    try:
        output, errors = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        output, errors = process.communicate()
        raise CommandFailed(
            f"{_shown(arguments)} did not end within {timeout:g} s."
            + _last_words(output, errors)
        ) from None
    except BaseException:
        _kill_group(process)
        process.communicate()
        raise
    if check and process.returncode != 0:
        raise CommandFailed(
            f"{_shown(arguments)} ended with {process.returncode}."
            + _last_words(output, errors)
        )
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


class Process:
    """A program that keeps running; what it prints goes to a log file."""

    def __init__(
        self,
        namespace: Namespace,
        arguments: Arguments,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log_path = log_path
        self._shown = _shown(arguments)
        with log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = namespace.call(
                lambda: subprocess.Popen(
                    [str(argument) for argument in arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=_environment(env),
                    cwd=cwd,
                    start_new_session=True,
                )
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, ``None`` while the process runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise CommandFailed(
                f"{self._shown} did not end within {timeout:g} s.{self._log_tail()}"
            ) from None

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self, grace: float = STOP_GRACE) -> int:
        """Terminate the process, kill it if it does not end; return its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        return self.kill()

    def kill(self) -> int:
        """Kill the process and its children; return its exit status."""
        if self._process.poll() is None:
            _kill_group(self._process)
        return self._process.wait()

    def output(self) -> str:
        """Return everything it has printed so far."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_for_line(self, text: str, timeout: float = 30.0, *, after: int = 0) -> str:
        """Wait until the program prints a line that contains ``text``, and return it.

        :param after: how many characters of the output to skip, to wait for a line that
            is printed again.
        :raises NotReady: with the end of the log, if time is up or the process ends.
        """
        deadline = time.monotonic() + timeout
        while True:
            ended = self.returncode is not None
            complete, _, _ = self.output()[after:].rpartition("\n")
            for line in complete.splitlines():
                if text in line:
                    return line
            if ended:
                raise NotReady(
                    f"{self._shown} ended with {self.returncode} before it printed "
                    f"{text!r}.{self._log_tail()}"
                )
            if time.monotonic() > deadline:
                raise NotReady(
                    f"{self._shown} did not print {text!r} within {timeout:g} s."
                    f"{self._log_tail()}"
                )
            time.sleep(POLL)

    def _log_tail(self) -> str:
        return f"{_last_words(self.output())}\n(whole log: {self.log_path})"


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}


def _kill_group(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _shown(arguments: Arguments) -> str:
    return " ".join(str(argument) for argument in arguments)


def _last_words(*texts: str) -> str:
    lines = [line for text in texts for line in text.splitlines()]
    return "".join(f"\n  {line}" for line in lines[-20:])
