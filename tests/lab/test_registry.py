"""Records of labs: who owns each, and which have lost their owner."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netlab import registry
from netlab.errors import LabError


@pytest.fixture(autouse=True)
def records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory of this test's own for the records."""
    path = tmp_path / "records"
    monkeypatch.setattr(registry, "RECORDS", path)
    return path


def test_nothing_is_recorded_at_first() -> None:
    assert list(registry.records()) == []
    assert registry.read("nl1") is None
    assert registry.clean() == []


def test_a_lab_is_recorded_with_its_owner_and_machines(tmp_path: Path) -> None:
    registry.register("nl1", tmp_path, "title")
    registry.add_namespace("nl1", "nl1-alice")
    registry.add_namespace("nl1", "nl1-bob")

    (record,) = registry.records()

    assert record == registry.read("nl1")
    assert record.machines == ["alice", "bob"]
    assert (record.owner.pid, record.owner.title) == (os.getpid(), "title")
    assert record.owner.alive


def test_the_prefix_of_a_running_lab_is_taken(tmp_path: Path) -> None:
    registry.register("nl1", tmp_path, "")

    with pytest.raises(LabError, match=rf"running already .*{os.getpid()}"):
        registry.register("nl1", tmp_path, "")


def test_no_temporary_file_is_left_behind(tmp_path: Path, records: Path) -> None:
    registry.register("nl1", tmp_path, "")
    with pytest.raises(LabError):
        registry.register("nl1", tmp_path, "")

    assert [path.name for path in records.iterdir()] == ["nl1"]


def test_a_lab_whose_process_has_gone_is_a_leftover(
    records: Path, tmp_path: Path
) -> None:
    leave(records, "nl1", gone(), tmp_path / "files")

    (record,) = registry.records()

    assert not record.owner.alive


def test_a_reused_process_id_is_not_the_owner(records: Path, tmp_path: Path) -> None:
    leave(records, "nl1", os.getpid(), tmp_path / "files")

    (record,) = registry.records()

    assert not record.owner.alive


def test_leftovers_are_removed_with_their_files_and_nothing_else(
    records: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    leave(records, "nl1", gone(), files)
    registry.register("nl2", tmp_path, "")

    assert registry.clean() == ["nl1"]

    assert not files.exists()
    assert [record.prefix for record in registry.records()] == ["nl2"]


def test_the_prefix_of_a_leftover_can_be_used(records: Path, tmp_path: Path) -> None:
    leave(records, "nl1", gone(), tmp_path / "files")

    registry.register("nl1", tmp_path, "new")

    record = registry.read("nl1")
    assert record is not None
    assert record.owner.title == "new"


def test_a_lab_without_machines_is_removed(tmp_path: Path) -> None:
    registry.register("nl1", tmp_path, "")
    record = registry.read("nl1")
    assert record is not None

    registry.remove(record)

    assert registry.read("nl1") is None


def leave(records: Path, prefix: str, pid: int, directory: Path) -> None:
    """Leave a record behind, as of a process that started with the machine."""
    records.mkdir(exist_ok=True)
    owner = {"pid": pid, "started": 0, "directory": str(directory), "title": ""}
    (records / prefix).write_text(json.dumps(owner) + "\n")


def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
