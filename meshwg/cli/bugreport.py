"""``meshwg bugreport``: what others need to see, without keys and tokens."""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from meshwg import __version__
from meshwg.cli.client import DaemonClient, control_socket_option
from meshwg.errors import MeshError

LOG_LINES = 500
COMMAND_TIMEOUT = 10.0
"""Seconds that one program of the system may take."""

_PROGRAMS = (
    ("ip", "-brief", "link"),
    ("ip", "-brief", "address"),
    ("ip", "rule"),
    ("ip", "-6", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("nft", "list", "ruleset"),
    ("iptables-save",),
    ("journalctl", "--no-pager", "-n", str(LOG_LINES), "-u", "meshwg.service"),
)
_TOKEN = re.compile(r"mwg\d+-[A-Za-z0-9_-]+")
_KEY = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}=")
_HEX_KEY = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")
_LOGIN = re.compile(r"(\w://)[^/\s@\"']+@")
_SECRET = re.compile(
    r"(?i)((?:password|passwd|secret|token|auth_key|private_key|bearer)"
    r"[\"']?\s*[=: ]\s*[\"']?)(?!key-|null|none)[^\s\"',}]+"
)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@control_socket_option
def bugreport(file: Path | None, control_socket: str) -> None:
    """Collect logs, status and network for others to see.

    They are written to FILE, or printed.

    Keys, tokens and passwords are left out; names and addresses are not.
    """
    text = redacted("\n".join(_report(control_socket)))
    if file is None:
        click.echo(text)
        return
    try:
        file.write_text(text + "\n")
    except OSError as error:
        raise MeshError(
            f"{file} cannot be written ({error.strerror}): name another file"
        ) from None
    click.echo(f"{file} is written: read it before you send it to others.", err=True)


def redacted(text: str) -> str:
    """Return a text without secrets; equal keys stay recognisable as equal."""
    text = _TOKEN.sub("mwg-token-left-out", text)
    text = _KEY.sub(_fingerprint, text)
    text = _HEX_KEY.sub(_fingerprint, text)
    text = _LOGIN.sub(r"\1login-left-out@", text)
    return _SECRET.sub(r"\1left-out", text)


def _fingerprint(match: "re.Match[str]") -> str:
    return f"key-{hashlib.sha256(match[0].encode()).hexdigest()[:8]}"


def _report(control_socket: str) -> Iterator[str]:
    yield f"meshwg {__version__}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}"
    yield f"Python {sys.version.split()[0]}, {platform.platform()}"
    for path, body in (("/v1/status", None), ("/v1/netcheck", {"timeout": 5.0})):
        yield f"\n== {path}"
        client = DaemonClient(control_socket, timeout=15.0)
        try:
            answer = client.get(path) if body is None else client.post(path, body)
            yield json.dumps(answer, indent=1)
        except MeshError as error:
            yield str(error)
    for program in _PROGRAMS:
        yield f"\n== {' '.join(program)}"
        yield _output(program)


def _output(program: Sequence[str]) -> str:
    """Return what a program of the system prints, or why there is nothing."""
    if shutil.which(program[0]) is None:
        return "not installed"
    try:
        done = subprocess.run(
            program,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout + done.stderr).strip()
