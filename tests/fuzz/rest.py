"""``python -m tests.fuzz.rest``: the REST interface against its own description.

A coordinator of its own is asked whatever schemathesis makes of ``/v1/openapi.json``,
which is a program of other people: ``make fuzz-rest`` installs it. 1 if there was a
status 500, or an answer that is not documented.
"""

import argparse
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.coordinator.programs import Program, program

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
"""What every answer has to pass. Whether a request makes sense is no matter of its form
alone, so what the description allows may be refused. That wrong tokens open nothing is
tested elsewhere: so many of them are throttled, and schemathesis takes that amiss."""
ENDLESS = "/v1/events"


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit status."""
    options = _parser().parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as directory,
        program(Path(directory) / "data") as server,
    ):
        status = _attack(server, options, Path(directory))
        unexpected = _unexpected(server)
        ended, complaints = server.stop()
    if unexpected or ended:
        sys.stdout.write(f"{unexpected} unexpected, ended with {ended}: {complaints}\n")
    return 1 if status or unexpected or ended else 0


def _attack(server: Program, options: argparse.Namespace, place: Path) -> int:
    """Ask until the time is up; return the exit status of who asks.

    :param place: where it leaves its notes.
    """
    # A token that the run may find and revoke is not the one that it works with.
    token = (server.data_dir / "admin.token").read_text().strip()
    command = [
        str(Path(options.schemathesis).absolute()),
        "run",
        f"{server.url}/v1/openapi.json",
        "--header",
        f"Authorization: Bearer {token}",
        "--checks",
        ",".join(CHECKS),
        "--exclude-path",
        ENDLESS,
        "--max-examples",
        str(options.examples),
        "--seed",
        str(options.seed),
        "--request-timeout",
        "30",
        "--continue-on-failure",
    ]
    done = subprocess.run(command, check=False, cwd=place, timeout=options.seconds)
    return done.returncode


def _unexpected(server: Program) -> int:
    """Return how often the coordinator was surprised."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=20) as page:
        for line in page.read().decode().splitlines():
            name, _, value = line.partition(" ")
            if name == "meshwg_unexpected_total":
                return int(float(value))
    raise AssertionError("/metrics does not say what was unexpected")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.rest", description=__doc__
    )
    parser.add_argument("--schemathesis", required=True, metavar="FILE")
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
