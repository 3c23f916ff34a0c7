"""Images that are made by hand are what the specification says."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from netlab.kubernetes.image import Layer, write_image

NAME = "localhost/meshwg/box:1"


def test_a_layer_holds_what_was_added_and_the_directories_above_it(
    tmp_path: Path,
) -> None:
    with Layer(tmp_path / "layer.tar") as layer:
        layer.add_text("/etc/motd", "hello\n", 0o600)
        layer.add_link("bin/sh", "busybox")
        layer.add_directory("tmp", 0o1777)

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames() == ["etc", "etc/motd", "bin", "bin/sh", "tmp"]
        assert content(tar, "etc/motd") == b"hello\n"
        assert tar.getmember("etc/motd").mode == 0o600
        assert tar.getmember("bin/sh").linkname == "busybox"
        assert tar.getmember("tmp").mode == 0o1777


def test_files_of_this_machine_are_roots_in_the_image(tmp_path: Path) -> None:
    source = tmp_path / "program"
    source.write_text("text")
    link = tmp_path / "link"
    link.symlink_to(source)

    with Layer(tmp_path / "layer.tar") as layer:
        layer.add_file(link, "/usr/bin/program")

    with tarfile.open(tmp_path / "layer.tar") as tar:
        member = tar.getmember("usr/bin/program")
        assert (member.uid, member.gid, member.isfile()) == (0, 0, True)
        # Compiled Python is thrown away if its source has another time.
        assert int(member.mtime) == int(source.stat().st_mtime)


def test_a_tree_is_added_without_what_is_named(tmp_path: Path) -> None:
    for name in ("one.py", "inner/two.py", "test/three.py"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    with Layer(tmp_path / "layer.tar") as layer:
        layer.add_tree(tmp_path / "tree", "/lib", without=["test"])

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames() == ["lib", "lib/one.py", "lib/inner", "lib/inner/two.py"]


def test_nothing_is_added_twice(tmp_path: Path) -> None:
    with Layer(tmp_path / "layer.tar") as layer:
        layer.add_text("etc/motd", "first")
        layer.add_text("etc/motd", "second")

    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert tar.getnames() == ["etc", "etc/motd"]
        assert content(tar, "etc/motd") == b"first"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    with Layer(tmp_path / "layer.tar") as layer:
        layer.add_text("etc/motd", "hello\n")
    path = tmp_path / "image.tar"
    write_image(path, NAME, layer.path, ["/bin/sleep", "1"], {"PATH": "/bin"})
    return path


def test_every_blob_of_an_image_is_named_by_its_hash(image: Path) -> None:
    with tarfile.open(image) as tar:
        blobs = [name for name in tar.getnames() if name.startswith("blobs/sha256/")]
        hashes = [hashlib.sha256(content(tar, n)).hexdigest() for n in blobs]
        assert blobs == [f"blobs/sha256/{each}" for each in hashes]
        assert len(hashes) == 3


def test_an_image_leads_from_its_index_to_its_layer(image: Path) -> None:
    with tarfile.open(image) as tar:
        assert document(tar, "oci-layout") == {"imageLayoutVersion": "1.0.0"}
        (top,) = document(tar, "index.json")["manifests"]
        assert top["annotations"]["io.containerd.image.name"] == NAME
        manifest = followed(tar, top)
        configuration = followed(tar, manifest["config"])
        (layer,) = manifest["layers"]

        assert configuration["config"]["Cmd"] == ["/bin/sleep", "1"]
        assert configuration["config"]["Env"] == ["PATH=/bin"]
        assert configuration["rootfs"]["diff_ids"] == [layer["digest"]]
        assert layer["size"] == len(content(tar, where(layer)))


def where(descriptor: dict[str, Any]) -> str:
    digest: str = descriptor["digest"]
    return "blobs/" + digest.replace(":", "/")


def followed(tar: tarfile.TarFile, descriptor: dict[str, Any]) -> dict[str, Any]:
    data = content(tar, where(descriptor))
    assert len(data) == descriptor["size"]
    found: dict[str, Any] = json.loads(data)
    return found


def document(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content(tar, name))
    return found


def content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    with file:
        return file.read()
