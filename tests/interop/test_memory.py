"""What a thousand idle peers cost ``meshwg-wg``: little memory, and no time at all."""

import os
import random
import re
import time
from pathlib import Path

import pytest

from meshwg.keys import format_key
from netlab.lab import Lab
from netlab.process import Process
from netlab.wireguard import MESHWG, is_served

pytestmark = pytest.mark.netns

PEERS = 1000
LIMIT = 60 << 20
"""Bytes of resident memory."""


def test_a_thousand_idle_peers_fit_in_60_megabytes_and_wake_nobody(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("switch", "192.0.2.0/24"))
    process = host.popen([*MESHWG, "-f", "wg0"])
    host.wait_until(lambda: is_served(host, "wg0"), "wg0 can be configured")
    host.run(["wg", "setconf", "wg0", host.write_file("wg0.conf", configuration())])
    host.run(["ip", "link", "set", "wg0", "up"])
    host.wait_until(lambda: sleeps_for_a_second(process), "meshwg-wg sleeps")
    assert len(host.run(["wg", "show", "wg0", "peers"]).stdout.split()) == PEERS
    assert resident(process) < LIMIT


def configuration() -> str:
    chance = random.Random(1)
    lines = ["[Interface]", "ListenPort = 51820"]
    lines.append(f"PrivateKey = {format_key(chance.randbytes(32))}")
    for number in range(PEERS):
        lines += ["[Peer]", f"PublicKey = {format_key(chance.randbytes(32))}"]
        lines.append(f"AllowedIPs = 10.{number >> 8}.{number & 255}.0/24")
        lines.append(f"Endpoint = 192.0.2.200:{1024 + number}")
    return "\n".join(lines) + "\n"


def sleeps_for_a_second(process: Process) -> bool:
    """Return whether the process is not woken for a second, as by a timer."""
    before = wakeups(process)
    time.sleep(1)
    return wakeups(process) == before


def wakeups(process: Process) -> int:
    """Return how often the process has gone to sleep, and so been woken."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (count,) = re.findall(r"^voluntary_ctxt_switches:\s*(\d+)$", status, re.MULTILINE)
    return int(count)


def resident(process: Process) -> int:
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
