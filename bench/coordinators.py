"""Coordinators as programs of their own: one, or several of one mesh."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meshwg.wire.token import JoinToken
from netlab import postgres

PORT = 8443
READY_WITHIN = 60.0


class Coordinator:
    """One process.

    :param host: where it listens.
    :param directory: its data directory.
    :param database: the URL of its database, if that is not its own.
    """

    def __init__(self, host: str, directory: Path, database: str = "") -> None:
        self.url = f"http://{host}:{PORT}"
        self._directory = directory
        self._where = ["--data-dir", str(directory)]
        if database:
            self._where += ["--database", database]
        options = ["--listen", f"{host}:{PORT}", "--log-level", "warning", "--no-relay"]
        self._process = subprocess.Popen(
            [*self._command("serve"), *options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise SystemExit("The coordinator did not start")

    @property
    def resident(self) -> int:
        """Bytes of resident memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has taken."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(") ")[1]
        return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def make_token(self, **wanted: Any) -> JoinToken:
        """Return a new token, reusable unless something else is wanted."""
        body = json.dumps({"reusable": True} | wanted).encode()
        key = (self._directory / "admin.token").read_text().strip()
        request = urllib.request.Request(
            f"{self.url}/v1/tokens",
            data=body,
            headers={"Authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request) as answer:
            return JoinToken.parse(json.load(answer)["token"])

    def apply_policy(self, text: str) -> None:
        """Let the mesh have a policy."""
        file = self._directory / "policy.toml"
        file.write_text(text)
        command = self._command("policy", "apply", str(file))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def metric(self, name: str) -> float:
        """Return a figure that it shows."""
        with urllib.request.urlopen(f"{self.url}/metrics") as page:
            for line in page.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[1])
        raise KeyError(name)

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "coordinator", *arguments, *self._where]


@contextlib.contextmanager
def alone(host: str) -> Iterator[Coordinator]:
    """Run one with its own database."""
    with tempfile.TemporaryDirectory(prefix="meshwg-bench-") as directory:
        coordinator = Coordinator(host, Path(directory) / "data")
        try:
            yield coordinator
        finally:
            coordinator.stop()


@contextlib.contextmanager
def together(hosts: Sequence[str]) -> Iterator[list[Coordinator]]:
    """Run some on one PostgreSQL, as one mesh.

    :raises SystemExit: if PostgreSQL is not installed.
    """
    programs = postgres.programs()
    if programs is None:
        raise SystemExit("PostgreSQL is needed: install Debian's package postgresql")
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="meshwg-bench-"))
        url = stack.enter_context(postgres.running(programs)).create("bench")
        started: list[Coordinator] = []
        for number, host in enumerate(hosts):
            directory = Path(place) / f"data-{number}"
            if started:
                # They are one mesh by its key, and serve one administrator.
                directory.mkdir(mode=0o700)
                for name in ("coordinator.key", "admin.token"):
                    shutil.copy2(Path(place) / "data-0" / name, directory / name)
            started.append(Coordinator(host, directory, url))
            stack.callback(started[-1].stop)
        yield started
