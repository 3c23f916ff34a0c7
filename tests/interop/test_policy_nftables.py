"""A policy means to a node what nftables makes of the same rules."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.netns

COUNT = 120_000
"""Packets; some turns find that a conversation is over."""
SEED = 1


def test_the_kernel_and_the_filter_agree_on_all_packets() -> None:
    command = ["unshare", "--net", sys.executable, "-m", "tests.interop.nftpolicy"]
    run = subprocess.run(
        [*command, str(COUNT), str(SEED)], capture_output=True, text=True, timeout=240
    )

    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["differing"] == []
    assert sum(found["verdicts"].values()) >= 100_000
    both = {f"{kind} {what}" for kind in KINDS for what in ("passes", "is dropped")}
    assert set(found["verdicts"]) == {*both, "stray is dropped"}


KINDS = ("tcp", "udp", "echo")
