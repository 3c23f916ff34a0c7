"""Certificates that are renewed, while connections are accepted."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from coordinator.runtime import certificate as module
from coordinator.runtime.certificate import Certificate, load_tls
from meshwg.errors import MeshError
from tests.coordinator.programs import make_certificate
from tests.coordinator.runtime.relaying import until


def test_a_missing_certificate_is_named() -> None:
    with pytest.raises(MeshError, match=r"/nowhere/cert\.pem"):
        load_tls("/nowhere/cert.pem", "/nowhere/key.pem")


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = Certificate(*make_certificate(tmp_path))

    monkeypatch.setattr(module, "load_tls", None)
    used.look()


def test_new_files_are_used_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    files = make_certificate(tmp_path)
    used = Certificate(*files)

    renew(tmp_path)
    used.look()

    assert shown(used.context, tmp_path) == files[0].read_bytes()
    assert "has changed, and is used" in caplog.text


def test_a_certificate_without_its_key_is_complained_of_once_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_certificate(tmp_path)
    used, before = Certificate(*files), files[0].read_bytes()
    (tmp_path / "new").mkdir()
    new = make_certificate(tmp_path / "new")

    # A program that renews certificates writes one file after the other.
    shutil.copy(new[0], files[0])
    used.look()
    used.look()
    assert len(caplog.records) == 1
    assert "The certificate stays as it is" in caplog.text
    assert shown(used.context, tmp_path) == before

    shutil.copy(new[1], files[1])
    used.look()
    assert shown(used.context, tmp_path) == files[0].read_bytes()


def test_a_link_that_leads_elsewhere_has_changed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_certificate(tmp_path / name)
    live = tmp_path / "live"
    live.symlink_to("one")
    used = Certificate(live / "cert.pem", live / "key.pem")

    live.unlink()
    live.symlink_to("two")
    used.look()

    assert shown(used.context, tmp_path) == (live / "cert.pem").read_bytes()


def test_files_that_are_gone_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_certificate(tmp_path)
    used, before = Certificate(*files), files[0].read_bytes()

    files[0].unlink()
    used.look()

    assert "No such file" in caplog.text
    assert shown(used.context, tmp_path) == before


async def test_it_looks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    files = make_certificate(tmp_path)
    used, before = Certificate(*files), files[0].read_bytes()
    watching = asyncio.create_task(used.watch())

    renew(tmp_path)

    await until(lambda: shown(used.context, tmp_path) != before)
    watching.cancel()


def renew(directory: Path) -> None:
    """Replace the certificate and the key in a directory."""
    (directory / "renewed").mkdir()
    for file in make_certificate(directory / "renewed"):
        shutil.move(file, directory / file.name)


def shown(context: ssl.SSLContext, directory: Path) -> bytes:
    """Return the certificate that a client is shown, as in its file."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(inside, outside, server_side=True)
    client = trusting.wrap_bio(outside, inside)
    for _ in range(4):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return ssl.DER_cert_to_PEM_cert(found).encode()
