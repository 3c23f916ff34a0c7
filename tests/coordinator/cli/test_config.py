"""``config check`` says what 'serve' would say, and starts nothing."""

import json
from pathlib import Path

import pytest

from tests.coordinator.programs import Here


def test_a_correct_file_is_said_to_be(here: Here, tmp_path: Path) -> None:
    file = write(tmp_path, 'listen = "127.0.0.1:8443"\nnetwork4 = "10.9.0.0/16"\n')

    status, output = here.run("config", "check", file)

    assert (status, output.out) == (0, f"{file} is correct.\n")
    assert json.loads(here.run("config", "check", file, "--json")[1].out) == {
        "schema": 1,
        "file": file,
        "ok": True,
    }
    assert [each.name for each in tmp_path.iterdir()] == ["server.toml"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("listen = ", "is not valid TOML"),
        ("lisen = 1", "There is no setting 'lisen'"),
        ('listen = "here"', "--listen here is not an address"),
        ('network4 = "10.0.0.0/31"', "are too small"),
        ('network4 = "many"', "The mesh network is wrong"),
        ('turn_secret_file = "/nowhere/secret"', "/nowhere/secret"),
        ('tls_cert = "/nowhere/c"\ntls_key = "/nowhere/k"', "cannot be used: No such"),
        ('tls_cert = "/nowhere/c"', "--tls-cert and --tls-key belong together"),
    ],
)
def test_what_is_wrong_is_named(
    text: str, sentence: str, here: Here, tmp_path: Path
) -> None:
    status, output = here.run("config", "check", write(tmp_path, text))

    assert status == 2
    assert sentence in output.err
    assert len(output.err.splitlines()) == 1


def test_a_missing_file_is_named(here: Here, tmp_path: Path) -> None:
    status, output = here.run("config", "check", str(tmp_path / "x.toml"))
    assert status == 2
    assert "x.toml cannot be read (No such file or directory)" in output.err


def write(directory: Path, text: str) -> str:
    file = directory / "server.toml"
    file.write_text(text)
    return str(file)
