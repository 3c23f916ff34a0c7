"""Container images made by hand, in the layout of the Open Container Initiative.

A layer is a tar archive, and an image a tar archive of blobs that are named by their
hashes (https://github.com/opencontainers/image-spec). No registry is asked.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MEDIA = "application/vnd.oci.image."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What Go, and so an image, calls a machine's architecture."""
CHUNK = 1 << 20


class Layer:
    """The files of an image, written while the ``with`` block runs.

    :param path: of the archive that is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._have: set[str] = set()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._tar = self._undo.enter_context(tarfile.open(self.path, "w"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def add_directory(self, path: str, mode: int = 0o755) -> None:
        """Add an empty directory, with those it is in."""
        self._add(path, tarfile.DIRTYPE, mode=mode)

    def add_text(self, path: str, text: str, mode: int = 0o644) -> None:
        """Add a file with this content."""
        self._add(path, tarfile.REGTYPE, text.encode(), mode)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, tarfile.SYMTYPE, target=target)

    def add_file(self, source: Path, path: str | None = None) -> None:
        """Add a file of this machine, by default with the same path.

        A symbolic link becomes the file that it leads to.
        """
        self._copy(source.resolve(), path or str(source))

    def add_tree(
        self, source: Path, path: str | None = None, without: Sequence[str] = ()
    ) -> None:
        """Add a directory of this machine with all that is in it.

        :param without: names of directories that are left out.
        """
        root = path or str(source)
        for folder, folders, files in os.walk(source):
            folders[:] = sorted(set(folders) - set(without))
            inner = os.path.relpath(folder, source)
            here = root if inner == "." else f"{root}/{inner}"
            self.add_directory(here)
            for name in sorted(files):
                self._copy(Path(folder, name), f"{here}/{name}")

    def _copy(self, source: Path, path: str) -> None:
        name = path.strip("/")
        if name in self._have:
            return
        self._make_parents(name)
        self._have.add(name)
        # Python's compiled files are only good beside a source of the same time.
        self._tar.add(source, name, recursive=False, filter=_as_root)

    def _add(
        self,
        path: str,
        kind: bytes,
        content: bytes = b"",
        mode: int = 0o755,
        target: str = "",
    ) -> None:
        name = path.strip("/")
        if name in self._have:
            return
        self._make_parents(name)
        self._have.add(name)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname, info.size = (
            kind,
            mode,
            target,
            len(content),
        )
        self._tar.addfile(info, io.BytesIO(content))

    def _make_parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        if parent:
            self.add_directory(parent)


def write_image(
    path: Path,
    name: str,
    layer: Path,
    command: Iterable[str],
    environment: Mapping[str, str],
) -> None:
    """Write an image of one layer.

    :param name: with its tag, such as ``localhost/meshwg/box:1``.
    :param command: what a container of it runs if nothing else is said.
    """
    content, size = _digest(layer)
    made = {"mediaType": f"{MEDIA}layer.v1.tar", "digest": content, "size": size}
    machine = platform.machine()
    configuration = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {
            "Cmd": list(command),
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [content]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}manifest.v1+json",
        "config": _blob(blobs, configuration, "config.v1+json"),
        "layers": [made],
    }
    top = _blob(blobs, manifest, "manifest.v1+json")
    # containerd calls what it imports by the first of these.
    top["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    with Layer(path) as archive:
        archive.add_text("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
        index = {"schemaVersion": 2, "manifests": [top]}
        archive.add_text("index.json", json.dumps(index))
        for digest, blob in blobs.items():
            archive.add_text(f"blobs/sha256/{digest}", blob.decode())
        archive.add_file(layer, f"blobs/sha256/{content.removeprefix('sha256:')}")


def _blob(blobs: dict[str, bytes], content: Any, kind: str) -> dict[str, Any]:
    """Keep a document by its hash, and return what refers to it."""
    data = json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    blobs[digest] = data
    return {"mediaType": MEDIA + kind, "digest": f"sha256:{digest}", "size": len(data)}


def _digest(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}", path.stat().st_size


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info
