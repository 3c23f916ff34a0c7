"""``meshwg-coordinator relay secret``."""

import json
from pathlib import Path

import pytest

from coordinator.cli import main
from coordinator.relaysecrets import derive
from tests.coordinator.cli.meshes import StoppedMesh


def test_the_secret_of_a_relay_is_neither_the_coordinators_nor_anothers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    StoppedMesh(tmp_path)
    printed = [run(tmp_path, capsys, host) for host in ("north.test", "south.test")]
    own = (tmp_path / "turn.secret").read_text().strip()
    assert len({*printed, own}) == 3
    assert printed[0] == derive(own.encode(), "north.test").decode()
    shown = json.loads(run(tmp_path, capsys, "north.test", "--json"))
    assert shown == {"schema": 1, "host": "north.test", "secret": printed[0]}


def test_a_chosen_secret_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    StoppedMesh(tmp_path / "data")
    (tmp_path / "secrets").write_text("north.test chosen")
    (tmp_path / "settings.toml").write_text(
        f'turn_secret_file = "{tmp_path}/secrets"\n'
    )
    options = ("--config", str(tmp_path / "settings.toml"))
    assert run(tmp_path / "data", capsys, "north.test", *options) == "chosen"


def test_without_a_coordinator_there_is_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["relay", "secret", "north.test", "--data-dir", str(tmp_path)])
    assert end.value.code == 1
    assert not (tmp_path / "turn.secret").exists()


def run(data_dir: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["relay", "secret", *arguments, "--data-dir", str(data_dir)])
    assert end.value.code == 0
    return capsys.readouterr().out.strip()
