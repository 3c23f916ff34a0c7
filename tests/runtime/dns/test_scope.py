"""Whether the machine's file is for this node's programs alone."""

import os
import sys
from pathlib import Path

import pytest

from meshwg.runtime.dns.scope import ancestors, is_for_others
from netlab.lab import Lab

SCRIPT = """
import sys
from pathlib import Path
from meshwg.runtime.dns.scope import is_for_others
print(*(is_for_others(Path(each)) for each in sys.argv[1:]))
"""
PATHS = ("/etc/resolv.conf", "/etc/nothing-of-this-name", "/run/resolv.conf")


def test_everybody_was_started_by_somebody() -> None:
    found = list(ancestors(os.getpid()))

    assert found[0] == os.getppid()
    assert len(found) == len(set(found))


def test_in_the_machine_s_own_network_it_is() -> None:
    assert not is_for_others(Path("/etc/resolv.conf"))


@pytest.mark.netns
def test_in_another_network_it_is_only_with_a_file_of_its_own(lab: Lab) -> None:
    host = lab.add_host("alice", lab.internet)
    command = [sys.executable, "-c", SCRIPT, *PATHS]

    # Hosts of a lab have a /run of their own.
    assert host.run(command).stdout.split() == ["True", "True", "False"]
    host.take_own_etc()
    assert host.run(command).stdout.split() == ["False", "False", "False"]
    assert host.call(lambda: is_for_others(Path("/run/nothing"))) is False
