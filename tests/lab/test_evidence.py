"""What a lab keeps of the traffic that crossed its internet, and for whom."""

import subprocess
from pathlib import Path

import pytest

from netlab import presets
from netlab.lab import Lab

pytestmark = [pytest.mark.netns, pytest.mark.lab]


def test_the_evidence_is_from_the_machines_asked_for(tmp_path: Path) -> None:
    with Lab(title="evidence", record=True) as lab:
        server = lab.add_host("server", lab.internet)
        hosts = [
            lab.add_host(name, lab.add_router(f"{name}-nat", presets.DOUBLE_CONE))
            for name in ("suspect", "bystander")
        ]
        for host in hosts:
            host.ping(server.address())
        public = [lab.router(f"{host.name}-nat-carrier").address() for host in hosts]
        assert lab.evidence is not None
        saved = lab.evidence.save(tmp_path / "suspect.pcap", hosts[:1])
        again = lab.evidence.save(tmp_path / "both.pcap", hosts)

    assert f"{public[0]} > " in told(saved)
    assert public[1] not in told(saved)
    assert public[1] in told(again)


def test_a_lab_keeps_no_evidence_unless_asked_to(lab: Lab) -> None:
    lab.add_host("server", lab.internet)

    assert lab.evidence is None


def told(capture: Path) -> str:
    command = ["tcpdump", "-n", "-r", str(capture)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
