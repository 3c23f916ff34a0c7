"""Groups of nodes are made in all trees, and removed with what is below them."""

from pathlib import Path

import pytest

from netlab import registry
from netlab.kubernetes import cgroups

NAME = cgroups.name_of("nl1x1-home")


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """Directories as those of version 1, beside the tree of version 2."""
    for tree in ("cpuset", "memory", "unified"):
        (tmp_path / tree).mkdir()
    for what in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / what).write_text("0-1\n")
    (tmp_path / "cpu").symlink_to("memory")
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "init.scope").mkdir()
    return tmp_path


def test_with_version_1_each_controller_has_the_group(version_1: Path) -> None:
    cgroups.make(NAME, version_1)

    assert (version_1 / "memory" / NAME).is_dir()
    assert (version_1 / "cpuset" / NAME / "cpuset.cpus").read_text() == "0-1\n"
    assert (version_1 / "unified" / NAME).is_dir()


def test_with_version_2_there_is_one_group(version_2: Path) -> None:
    cgroups.make(NAME, version_2)

    assert (version_2 / NAME).is_dir()
    assert not (version_2 / "init.scope" / NAME).exists()


def test_what_a_kubelet_made_below_goes_too(version_2: Path) -> None:
    cgroups.make(NAME, version_2)
    (version_2 / NAME / "kubepods" / "besteffort" / "pod1").mkdir(parents=True)

    cgroups.remove(NAME, version_2)

    assert not (version_2 / NAME).exists()


def test_a_group_that_is_in_use_is_left_after_a_while(version_2: Path) -> None:
    cgroups.make(NAME, version_2)
    # A directory that cannot be removed, as a group with a process in it.
    (version_2 / NAME / "file").touch()

    cgroups.remove(NAME, version_2, within=0.05)

    assert (version_2 / NAME).exists()


@pytest.mark.netns
def test_only_groups_of_labs_that_are_gone_are_cleaned(
    version_2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RECORDS", tmp_path / "records")
    registry.register("nl2x1", tmp_path, "a lab that runs")
    for name in (NAME, cgroups.name_of("nl2x1-home"), "docker"):
        (version_2 / name).mkdir()

    cgroups.clean(version_2)

    assert left(version_2) == ["docker", "init.scope", "netlab-nl2x1-home"]


def left(root: Path) -> list[str]:
    found = (each.name for each in root.iterdir() if each.is_dir())
    return sorted(name for name in found if name != "records")
