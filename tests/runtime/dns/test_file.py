"""The plain file: what is written, what is put back, and what is left alone."""

import asyncio
import errno
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from meshwg.dns.resolvconf import is_ours, read
from meshwg.errors import MeshError
from meshwg.runtime.dns import file as module
from meshwg.runtime.dns.file import ResolverFile, boot_id, recover
from meshwg.runtime.dns.integration import Registration
from meshwg.runtime.state import StateDirectory

T = TypeVar("T")

BEFORE = "# by hand\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch example.org\n"
STUB = "127.0.77.53"
WANTED = Registration("meshwg0", 7, STUB, 53, "mesh.internal", ())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "etc" / "resolv.conf"
    made.parent.mkdir()
    made.write_text(BEFORE)
    return made


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path / "state")
    yield made
    made.close()


def run(work: Coroutine[None, None, T]) -> T:
    return asyncio.run(work)


def servers(path: Path) -> tuple[str, ...]:
    return read(path.read_text()).servers


def test_ours_comes_first_and_the_others_stay_behind(
    path: Path, state: StateDirectory
) -> None:
    there = ResolverFile(state, path)

    assert run(there.apply(WANTED)) == ("192.0.2.1", "192.0.2.2")

    assert servers(path) == (STUB, "192.0.2.1", "192.0.2.2")
    assert read(path.read_text()).search == ("example.org", "mesh.internal")
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["resolv.conf"]
    assert not run(there.has_changed())
    run(there.undo())
    assert path.read_text() == BEFORE
    assert state.dns() is None


def test_what_a_killed_node_has_left_is_put_back(
    path: Path, state: StateDirectory
) -> None:
    run(ResolverFile(state, path).apply(WANTED))

    assert recover(state, path)

    assert path.read_text() == BEFORE
    assert not recover(state, path)


def test_it_is_put_back_on_another_machine_too(
    path: Path,
    state: StateDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(ResolverFile(state, path).apply(WANTED))
    (tmp_path / "boot_id").write_text("another")
    monkeypatch.setattr(module, "_BOOT", tmp_path / "boot_id")

    assert recover(state, path)

    assert path.read_text() == BEFORE


def test_a_file_that_somebody_else_wrote_is_left_alone(
    path: Path, state: StateDirectory
) -> None:
    there = ResolverFile(state, path)
    run(there.apply(WANTED))
    changed = path.read_text() + "# and by somebody else\n"
    path.write_text(changed)

    assert run(there.has_changed())
    run(there.undo())

    assert path.read_text() == changed
    assert state.dns() is None


def test_after_dhcp_has_rewritten_it_its_servers_stand_behind_ours(
    path: Path, state: StateDirectory
) -> None:
    there = ResolverFile(state, path)
    run(there.apply(WANTED))
    leased = "nameserver 198.51.100.1\n"
    path.with_name("new").write_text(leased)
    path.with_name("new").replace(path)

    assert run(there.has_changed())
    assert run(there.apply(WANTED)) == ("198.51.100.1",)

    assert servers(path) == (STUB, "198.51.100.1")
    run(there.undo())
    assert path.read_text() == leased


def test_a_link_is_a_link_again(path: Path, state: StateDirectory) -> None:
    target = path.with_name("managed")
    path.rename(target)
    path.symlink_to("managed")
    there = ResolverFile(state, path)

    run(there.apply(WANTED))

    assert not path.is_symlink()
    assert target.read_text() == BEFORE
    run(there.undo())
    assert os.readlink(path) == "managed"
    assert path.read_text() == BEFORE


def test_who_made_the_link_goes_on_deciding(path: Path, state: StateDirectory) -> None:
    target = path.with_name("managed")
    path.rename(target)
    path.symlink_to(target)
    there = ResolverFile(state, path)
    run(there.apply(WANTED))

    target.write_text("nameserver 198.51.100.1\n")

    assert run(there.has_changed())
    assert run(there.apply(WANTED)) == ("198.51.100.1",)
    assert servers(path) == (STUB, "198.51.100.1")
    assert not run(there.has_changed())


def test_where_there_is_no_file_there_is_none_again(
    path: Path, state: StateDirectory
) -> None:
    path.unlink()
    there = ResolverFile(state, path)

    assert run(there.apply(WANTED)) == ("127.0.0.1",)

    assert servers(path) == (STUB, "127.0.0.1")
    run(there.undo())
    assert not path.exists()


def test_where_there_was_no_file_another_domain_changes_nothing_of_that(
    path: Path, state: StateDirectory
) -> None:
    path.unlink()
    there = ResolverFile(state, path)
    run(there.apply(WANTED))

    run(there.apply(Registration("meshwg0", 7, STUB, 53, "mesh.example", ())))

    run(there.undo())
    assert not path.exists()


def test_a_new_domain_replaces_the_one_before(
    path: Path, state: StateDirectory
) -> None:
    there = ResolverFile(state, path)
    run(there.apply(WANTED))
    other = Registration("meshwg0", 7, STUB, 53, "mesh.example", ())

    run(there.apply(other))

    assert read(path.read_text()).search == ("example.org", "mesh.example")
    assert path.read_text().count("#meshwg:") == 1
    run(there.undo())
    assert path.read_text() == BEFORE


def test_nothing_is_written_that_is_there_already(
    path: Path, state: StateDirectory
) -> None:
    there = ResolverFile(state, path)
    run(there.apply(WANTED))
    before = path.stat()

    run(there.apply(WANTED))

    assert path.stat() == before


def test_two_meshes_of_one_machine_stand_behind_each_other(
    path: Path, state: StateDirectory, tmp_path: Path
) -> None:
    second_state = StateDirectory(tmp_path / "second")
    first, second = ResolverFile(state, path), ResolverFile(second_state, path)
    other = Registration("meshwg1", 8, "127.0.77.54", 53, "other.internal", ())
    run(first.apply(WANTED))
    written = path.read_text()

    assert run(second.apply(other)) == (STUB, "192.0.2.1", "192.0.2.2")

    assert servers(path)[:2] == ("127.0.77.54", STUB)
    assert read(path.read_text()).search[-2:] == ("mesh.internal", "other.internal")
    run(second.undo())
    assert path.read_text() == written
    run(first.undo())
    assert path.read_text() == BEFORE
    second_state.close()


def test_a_server_that_is_dead_is_taken_out_without_a_note(
    path: Path, state: StateDirectory
) -> None:
    run(ResolverFile(state, path).apply(WANTED))
    state.save_dns(None)

    assert recover(state, path)

    assert path.read_text() == BEFORE


def test_a_server_that_lives_is_another_node_s(
    path: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(ResolverFile(state, path).apply(WANTED))
    state.save_dns(None)
    monkeypatch.setattr(module, "_is_served", lambda host: host == STUB)

    assert not recover(state, path)

    assert is_ours(path.read_text())


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EROFS])
def test_a_file_that_was_mounted_by_itself_is_written_in_place(
    path: Path,
    state: StateDirectory,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def refuse(self: Path, target: Path) -> None:
        if target == path:
            raise OSError(number, os.strerror(number))

    there = ResolverFile(state, path)
    run(there.apply(WANTED))
    run(there.undo())
    monkeypatch.setattr(Path, "replace", refuse)
    inode = path.stat().st_ino

    module.write(path, BEFORE * 3)
    assert path.read_text() == BEFORE * 3
    module.write(path, BEFORE)
    assert path.read_text() == BEFORE
    assert path.stat().st_ino == inode


def test_a_full_disk_leaves_the_file_as_it_was(
    path: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_write_new", refuse)

    with pytest.raises(MeshError, match="No space left"):
        run(ResolverFile(state, path).apply(WANTED))

    assert path.read_text() == BEFORE


def test_a_file_of_any_bytes_is_put_back(path: Path, state: StateDirectory) -> None:
    before = b"nameserver 192.0.2.1\n# \xff\xfe caf\xe9\n"
    path.write_bytes(before)
    there = ResolverFile(state, path)

    run(there.apply(WANTED))
    run(there.undo())

    assert path.read_bytes() == before


def test_a_damaged_note_is_no_trouble(path: Path, state: StateDirectory) -> None:
    for note in ({}, {"mode": "file"}, {"mode": "file", "sha256": 5, "link": 7}):
        state.save_dns(note)
        assert not recover(state, path)
    assert path.read_text() == BEFORE


def test_this_boot_has_a_name() -> None:
    assert len(boot_id()) == 36
