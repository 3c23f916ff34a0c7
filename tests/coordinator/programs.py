"""Coordinators for tests: in this process, and as the program users run."""

import contextlib
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.capture import CaptureResult

from coordinator.cli import main
from coordinator.config import load
from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.operations import CreateAuthKey
from coordinator.runtime.files import DataDirectory
from coordinator.runtime.server import CoordinatorProcess, Foundation, open_foundation
from meshwg.wire.token import JoinToken

_NUMBERS = itertools.count(1)


def loopback() -> str:
    """Return a loopback address that nobody else uses: tests run side by side."""
    number = os.getpid() * 64 + next(_NUMBERS)
    return f"127.{64 + number // 65025 % 128}.{number // 255 % 255}.{number % 255}"


@contextlib.asynccontextmanager
async def running(
    data_dir: Path, **options: Any
) -> AsyncIterator[tuple[CoordinatorProcess, Foundation]]:
    """Run a coordinator in this process, without signals and announcements."""
    config = load(None, {"data_dir": data_dir, "listen": f"{loopback()}:0", **options})
    directory = DataDirectory(data_dir, os.urandom)
    directory.create()
    async with open_foundation(config, directory) as foundation:
        process = CoordinatorProcess(foundation)
        async with process.run():
            yield process, foundation


async def make_token(
    process: CoordinatorProcess, foundation: Foundation, **options: Any
) -> str:
    """Return a join token, reusable unless said otherwise."""
    options = {"reusable": True, "ephemeral": False, "lifetime": 600.0} | options
    text, key = new_auth_key(os.urandom, created=time.time(), **options)
    await process._worker.perform(CreateAuthKey(key))
    public_key = foundation.private_key.public_bytes
    return str(JoinToken(process.public.url, public_key, text))


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Return the files of a certificate that nobody vouches for, and of its key."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        f"-days 2 -subj /CN=mesh -keyout {key} -out {certificate}".split(),
        check=True,
        stderr=subprocess.DEVNULL,
    )
    assert ssl.create_default_context(cafile=certificate)
    return certificate, key


class Program:
    """``meshwg-coordinator`` with a data directory, as a user runs it."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.host = loopback()
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.ready_line = ""

    def start(self, *options: str) -> None:
        """Start the server; return when it is ready."""
        self._process = subprocess.Popen(
            self._command("serve", "--listen", f"{self.host}:8443", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.ready_line = self._process.stdout.readline()

    @property
    def url(self) -> str:
        return f"http://{self.host}:8443"

    def start_at_terminal(self, terminal: int) -> None:
        """Start the server as the leader of a terminal's session."""
        command = self._command("serve", "--listen", f"{self.host}:8443")
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
        )
        assert self._process.stdout is not None
        self.ready_line = self._process.stdout.readline()

    def hang_up(self) -> None:
        """Have the server read its settings again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End the server as a power cut would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._finish()

    def stop(self) -> tuple[int, str]:
        """End the server cleanly; return its exit status and what it complained of."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._finish()

    def wait(self) -> tuple[int, str]:
        """Wait for a server that ends by itself."""
        return self._finish()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the administration."""
        return subprocess.run(
            self._command(*arguments), capture_output=True, text=True, check=False
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        """Return what a command prints with ``--json``."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        printed: dict[str, Any] = json.loads(done.stdout)
        assert printed["schema"] == 1
        return printed

    def _command(self, *arguments: str) -> list[str]:
        names = {"serve": 1, "token": 2, "node": 2, "key": 2, "relay": 2, "dns": 2}
        names |= {"apitoken": 2, "user": 2, "policy": 2, "route": 2, "peer": 2}
        split = names.get(arguments[0], 1)
        where = ["--data-dir", str(self.data_dir), *self._options]
        program = [sys.executable, "-m", "coordinator"]
        return [*program, *arguments[:split], *where, *arguments[split:]]

    def _finish(self) -> tuple[int, str]:
        assert self._process is not None
        _, complaints = self._process.communicate(timeout=20)
        return self._process.returncode, complaints


class Here:
    """Runs commands that end by themselves in this process: it is much faster."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def run(self, *arguments: str) -> tuple[object, CaptureResult[str]]:
        try:
            main(arguments)
            status: object = 0
        except SystemExit as end:
            status = end.code
        return status, self._capture.readouterr()

    def fails(self, data_dir: Path, *arguments: str, status: int, named: str) -> None:
        """Run a command that ends with one sentence."""
        where = () if arguments == ("frobnicate",) else ("--data-dir", str(data_dir))
        got, output = self.run(*arguments, *where)
        assert got == status
        assert named in output.err
        assert output.out == ""
        last = output.err.splitlines()[-1]
        assert last.startswith(("meshwg-coordinator: ", "Error: "))


@contextlib.contextmanager
def program(data_dir: Path, *options: str) -> Iterator[Program]:
    """A running coordinator; it is killed at the end if it still runs."""
    made = Program(data_dir, *options)
    made.start()
    try:
        yield made
    finally:
        if made._process is not None and made._process.poll() is None:
            made.kill()
