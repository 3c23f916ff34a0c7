"""Full disks: reported in one sentence, nothing lost, and over once there is room."""

import contextlib
import json
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab.lab import Lab
from tests.interop.meshes import COORDINATOR, PATIENCE, Coordinator, Member, leftovers

pytestmark = pytest.mark.netns

FAILED = 1


class Disk:
    """A small disk of its own at a directory."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        self._ballast = path / "ballast"
        path.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
        subprocess.run(["mount", *options, str(path)], check=True)

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file:
            size = 1 << 16
            while size:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self) -> None:
        self._ballast.unlink()

    def files(self) -> set[str]:
        return {path.name for path in self.path.iterdir()} - {self._ballast.name}

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextlib.contextmanager
def disk(path: Path, size: str = "2m") -> Iterator[Disk]:
    made = Disk(path, size)
    try:
        yield made
    finally:
        made.close()


def test_a_coordinator_whose_disk_is_full_loses_no_data_and_no_node(lab: Lab) -> None:
    host = lab.add_host("coordinator", lab.internet)
    with disk(host.directory / "data") as data:
        coordinator = Coordinator(host)
        coordinator.start()
        token = coordinator.token(reusable=True)
        alice, bob, carol = (
            Member(lab.add_host(name, lab.internet))
            for name in ("alice", "bob", "carol")
        )
        for member in (alice, bob):
            member.join(token)
        alice.reaches(bob)
        data.fill()

        for command in (["token", "create"], ["node", "rename", "alice", "eve"]):
            where = ["--data-dir", str(data.path)]
            ended = host.run([*COORDINATOR, *command, *where], check=False)
            assert ended.returncode == FAILED
            (sentence,) = ended.stderr.splitlines()
            assert "coordinator.db is full; free some space" in sentence
        with pytest.raises(urllib.error.HTTPError, match="503") as refusal:
            coordinator.token()
        refusal.value.close()
        carol.start("--join", token)
        carol.wait_until(
            lambda status: "cannot store" in str(status["self"]["coordinator"]),
            "carol is told why she has to wait",
        )
        assert alice.status()["self"]["coordinator"]["state"] == "connected"
        alice.reaches(bob)
        coordinator.kill()
        coordinator.start()
        alice.reaches(bob)
        data.free()

        for member in (alice, bob, carol):
            member.wait_until_connected()
        carol.reaches(alice)
        assert set(coordinator.nodes()) == {"alice", "bob", "carol"}
        assert coordinator.process is not None
        log = coordinator.process.output()
        assert log.count("is full") == log.count("works again") <= 1
        coordinator.stop()


def test_a_coordinator_does_not_start_on_a_full_disk(lab: Lab) -> None:
    host = lab.add_host("coordinator", lab.internet)
    with disk(host.directory / "data", "64k") as data:
        data.fill()
        serve = [*COORDINATOR, "serve", "--data-dir", str(data.path)]

        ended = host.run(serve, check=False, timeout=20)

        assert ended.returncode == FAILED
        (sentence,) = ended.stderr.splitlines()
        assert "coordinator.key is full; free some space" in sentence
        assert data.files() == {"lock"}


def test_a_node_whose_disk_is_full_goes_on_and_saves_later(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice, bob, carol = (
        Member(lab.add_host(name, lab.internet)) for name in ("alice", "bob", "carol")
    )
    with disk(alice.state_dir) as state:
        alice.join(token)
        bob.join(token)
        alice.wait_until_saved("bob")
        state.fill()

        carol.join(token)

        alice.reaches(carol)
        alice.host.wait_until(
            lambda: "netmap.json cannot be written (No space left" in alice.log(),
            "alice says that her disk is full",
            PATIENCE,
        )
        assert alice.log().count("cannot be written") == 1
        assert '"name":"bob"' in (state.path / "netmap.json").read_text()
        alice.kill()
        alice.start().wait_until_connected()
        alice.reaches(carol)
        state.free()
        alice.wait_until_saved("bob", "carol")
        alice.meshwg("down")
        assert alice.wait_for_end() == 0
        assert json.loads((state.path / "netmap.json").read_text())


def test_a_node_does_not_join_with_a_full_disk(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    alice = Member(lab.add_host("alice", lab.internet))
    with disk(alice.state_dir, "64k") as state:
        state.fill()

        ended = alice.try_to_start("--join", coordinator.token())

        assert ended.returncode == FAILED
        (sentence,) = ended.stderr.splitlines()
        assert "cannot be written (No space left on device): free space" in sentence
        assert state.files() == {"lock"}
        assert leftovers(alice.host) == []
        assert coordinator.nodes() == {}
