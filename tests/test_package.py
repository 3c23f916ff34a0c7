"""What importing the package does to its process: next to nothing."""

import os
import subprocess
import sys

import pytest

SHOW = "import meshwg, os; print(os.environ['OPENSSL_ia32cap'])"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, ":~0x200000"), ("", ""), (":~0x10000", ":~0x10000")],
)
def test_openssl_is_kept_from_its_slow_path_unless_the_user_configured_it(
    before: str | None, after: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENSSL_ia32cap"}
    if before is not None:
        environment["OPENSSL_ia32cap"] = before

    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.strip() == after
