"""Programs are built once for each state of their sources and each version of Go."""

from pathlib import Path

import pytest

from netlab.errors import GoMissing, LabError
from netlab.kubernetes import programs


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Go":
    """A program named ``go`` that only says that it builds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Go(tmp_path / "bin", monkeypatch)


def test_without_go_nothing_is_built(go: "Go") -> None:
    go.remove()

    with pytest.raises(GoMissing, match="or newer, here is none"):
        programs.build()


def test_an_old_go_is_refused_with_its_version(go: "Go") -> None:
    go.install("go1.19.8")

    with pytest.raises(GoMissing, match=r"or newer, here is go1\.19\.8"):
        programs.is_built()


def test_what_was_built_is_not_built_again(go: "Go") -> None:
    go.install("go1.99.1")
    assert not programs.is_built()

    first = programs.build()
    second = programs.build()

    assert first == second
    assert programs.is_built()
    assert sorted(each.name for each in first.iterdir()) == list(programs.MODULES)
    assert go.builds() == len(programs.MODULES)


def test_another_version_of_go_builds_anew(go: "Go") -> None:
    go.install("go1.99.1")
    first = programs.build()
    go.install("go1.99.2")

    assert programs.build() != first


def test_a_build_that_fails_leaves_nothing_behind(go: "Go") -> None:
    go.install("go1.99.1", "echo no space left >&2; exit 1")

    with pytest.raises(LabError, match="could not build etcd:\nno space left"):
        programs.build()
    assert not programs.is_built()
    assert list((go.cache / "meshwg-kubernetes").iterdir()) == []


def test_what_is_not_unpacked_is_named_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "DEBIAN", tmp_path)

    with pytest.raises(LabError, match="containerd is not unpacked: 'make test-kub"):
        programs.find()


def test_kubernetes_is_pinned() -> None:
    assert programs.version().startswith("v1.")


class Go:
    """Stands for the Go tool, since the real one builds for a quarter of an hour."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder.parent / "cache"
        self._program = folder / "go"
        folder.mkdir()
        # Only what the script itself needs is there beside it.
        for tool in ("sh", "touch"):
            (folder / tool).symlink_to(f"/bin/{tool}")
        monkeypatch.setenv("PATH", str(folder))

    def install(self, version: str, build: str = 'touch "$6"') -> None:
        note = f'echo x >>"{self._program}.builds"'
        self._program.write_text(
            f'#!/bin/sh\nif [ "$1" = env ]; then echo {version}; exit; fi\n'
            f"{note}\n{build}\n"
        )
        self._program.chmod(0o755)

    def remove(self) -> None:
        self._program.unlink(missing_ok=True)

    def builds(self) -> int:
        return Path(f"{self._program}.builds").read_text().count("x")
