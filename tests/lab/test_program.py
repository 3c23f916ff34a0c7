"""``python netns-lab`` says what is wrong in one sentence and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netlab import netns, preflight, registry
from netlab.errors import LabError
from netlab.lab import Lab

pytestmark = pytest.mark.netns

PROGRAM = Path(__file__).parent.parent.parent / "netns-lab"


def test_an_unknown_scenario_is_wrong_usage() -> None:
    done = netns_lab("run", "no-such-scenario")

    assert done.returncode == 2
    assert "no-such-scenario: there are container, public" in done.stderr


def test_it_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(LabError, match="run it as root"):
        preflight.check()
    with pytest.raises(LabError, match="run this as root"):
        Lab().__enter__()


def test_missing_packages_are_named_with_the_remedy() -> None:
    programs = {"no-such-program": "its-package", "ip": "iproute2"}

    with pytest.raises(LabError, match="Not installed: its-package"):
        preflight.check(programs)


def test_a_missing_tun_device_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"No such file.*'modprobe tun'"):
        preflight.check(tun=tmp_path / "tun")


def test_a_kernel_without_nat_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nft = tmp_path / "nft"
    nft.write_text("#!/bin/sh\necho Operation not supported >&2\nexit 1\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(LabError, match=r"cannot do NAT .*\(Operation not supported\)"):
        preflight.check()


def test_a_machine_that_has_everything_passes() -> None:
    preflight.check()


def test_a_shell_is_opened_in_a_named_machine(lab: Lab) -> None:
    lab.add_host("alice", lab.internet, address="203.0.113.77")
    lab.machine("alice").run(["touch", "/run/hers"])
    full_name = f"{lab.prefix}-alice"

    shown = netns_lab("shell", full_name, "ip", "-br", "address", "show", "eth0")
    assert "203.0.113.77/32" in shown.stdout
    assert netns_lab("shell", full_name, "ls", "/run").stdout == "hers\n"
    typed = netns_lab("shell", full_name, stdin="hostname >/dev/null; exit 7\n")
    assert typed.returncode == 7


def test_a_shell_in_no_or_many_machines_is_refused(lab: Lab) -> None:
    lab.add_host("somebody", lab.internet)
    with Lab() as other:
        other.add_host("somebody", other.internet)

        unknown = netns_lab("shell", "nobody")
        ambiguous = netns_lab("shell", "somebody")

    assert unknown.returncode == ambiguous.returncode == 1
    assert "No running lab has a machine named nobody; there are:" in unknown.stderr
    assert "Several labs have a machine named somebody" in ambiguous.stderr
    assert f"{lab.prefix}-somebody" in ambiguous.stderr


def test_running_labs_are_listed(lab: Lab) -> None:
    lab.add_host("alice", lab.internet)

    listed = netns_lab("list").stdout

    assert re.search(rf"{lab.prefix}  {lab.title}  \(process {os.getpid()}\)", listed)
    assert re.search(rf"alice +{lab.prefix}-alice", listed)


def test_leftovers_are_cleaned_and_named() -> None:
    run = start("run", "container", "--hold")
    prefix = prefix_of(run, "container")
    run.kill()
    run.communicate(timeout=30)

    assert f"Removed the lab {prefix}" in netns_lab("clean").stdout
    assert_clean(prefix)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("lab_title", ["checking this kernel", "container"])
def test_ctrl_c_at_any_moment_leaves_a_clean_machine(
    lab_title: str, seconds: float
) -> None:
    run = start("run", "container", "public")
    prefix = prefix_of(run, lab_title)
    time.sleep(seconds)
    run.send_signal(signal.SIGINT)

    _, errors = run.communicate(timeout=60)

    assert run.returncode == 128 + signal.SIGINT
    assert errors.endswith("Interrupted; the machine is as it was before.\n")
    assert not [each for each in registry.records() if each.owner.pid == run.pid]
    assert_clean(prefix)


@pytest.mark.lab
@pytest.mark.parametrize("seconds", [1.0, 8.0])
def test_ctrl_c_ends_a_matrix_at_once_and_silently(seconds: float) -> None:
    run = start("run", "matrix", "--matrix", "quick")
    prefix = prefix_of(run, "matrix")
    time.sleep(seconds)
    run.send_signal(signal.SIGINT)

    _, errors = run.communicate(timeout=60)

    assert run.returncode == 128 + signal.SIGINT
    assert errors.strip() == "Interrupted; the machine is as it was before."
    assert_clean(prefix)


def test_a_fault_in_an_unknown_kind_is_wrong_usage() -> None:
    done = netns_lab("run", "matrix", "--fault", "office=nonsense")

    assert done.returncode == 2
    assert "office=nonsense: the kinds are public, home-router" in done.stderr


def test_without_go_kubernetes_is_not_built_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    done = netns_lab("build")

    # What needs it is skipped then, as with Debian's packages.
    assert done.returncode == 0
    assert re.match(r"Not built: Kubernetes needs Go 1\.\d+", done.stderr)


def netns_lab(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def prefix_of(program: "subprocess.Popen[str]", title: str) -> str:
    """Wait until the program runs the lab of that title and return its prefix."""
    while program.poll() is None:
        for record in registry.records():
            if (record.owner.pid, record.owner.title) == (program.pid, title):
                return record.prefix
        time.sleep(0.01)
    raise AssertionError(f"it ended with {program.returncode}")


def assert_clean(prefix: str) -> None:
    assert registry.read(prefix) is None
    assert not list(netns.NAMESPACES.glob(f"{prefix}-*"))
