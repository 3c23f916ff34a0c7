"""``meshwg node`` reads its options, and says in a sentence why it cannot start."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from meshwg.cli import node as module
from meshwg.cli.group import run
from meshwg.config import NodeConfig
from meshwg.runtime import daemon


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable of the machine, nor its user, decide a test."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_options_become_the_configuration(started: list[NodeConfig]) -> None:
    status = start(
        *("--join", "mwg1-x", "--state-dir", "/s", "--interface", "mesh1"),
        *("--listen-port", "5", "--control-socket", "/c", "--name", "me"),
        *("--log-level", "error", "--no-birthday", "--mtu", "1300", "--hub"),
        *("--no-tcp",),
        *("--route", "10.1.0.0/16", "--route", "fd01::/48"),
    )

    assert status == 0
    assert started == [
        NodeConfig(
            join="mwg1-x",
            state_dir=Path("/s"),
            interface="mesh1",
            listen_port=5,
            control_socket=Path("/c"),
            name="me",
            log_level="error",
            birthday=False,
            tcp=False,
            mtu=1300,
            role="hub",
            routes=("10.1.0.0/16", "fd01::/48"),
        )
    ]


def test_without_options_everything_is_as_by_default(
    started: list[NodeConfig],
) -> None:
    assert start() == 0
    assert started == [NodeConfig()]


def test_the_environment_comes_between_options_and_file(
    started: list[NodeConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('interface = "file1"\nname = "file"\nmtu = 1400\nrole = "hub"\n')
    monkeypatch.setenv("MESHWG_NAME", "environment")
    monkeypatch.setenv("MESHWG_MTU", "1350")
    monkeypatch.setenv("MESHWG_CONFIG", str(file))

    start("--mtu", "1300")

    (config,) = started
    assert (config.interface, config.name, config.mtu) == ("file1", "environment", 1300)
    assert config.role == "hub"


def test_every_option_is_a_variable_of_the_environment(
    started: list[NodeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "JOIN": "mwg1-x",
        "STATE_DIR": "/s",
        "INTERFACE": "mesh1",
        "LISTEN_PORT": "5",
        "CONTROL_SOCKET": "/c",
        "LOG_LEVEL": "error",
        "NO_BIRTHDAY": "1",
        "HUB": "1",
        "ROUTES": "10.1.0.0/16 fd01::/48",
    }.items():
        monkeypatch.setenv(f"MESHWG_{name}", value)

    start()

    assert started == [
        NodeConfig(
            join="mwg1-x",
            state_dir=Path("/s"),
            interface="mesh1",
            listen_port=5,
            control_socket=Path("/c"),
            log_level="error",
            birthday=False,
            role="hub",
            routes=("10.1.0.0/16", "fd01::/48"),
        )
    ]


def test_every_setting_is_an_option() -> None:
    known = {each.name for each in module.node.params}
    assert {each.name for each in fields(NodeConfig)} <= known


def test_a_switch_that_the_file_turns_off_can_be_turned_on(
    started: list[NodeConfig], tmp_path: Path
) -> None:
    file = tmp_path / "node.toml"
    file.write_text("birthday = false\ntcp = false\nport_mapping = false\nhub = true\n")
    switches = ("--birthday", "--tcp", "--port-mapping", "--role", "node")

    start("--config", str(file), *switches)

    assert started == [NodeConfig()]


@pytest.mark.parametrize("off", ["0", "false", ""])
def test_a_switch_in_the_environment_can_be_off(
    off: str, started: list[NodeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHWG_NO_BIRTHDAY", off)
    monkeypatch.setenv("MESHWG_HUB", off)

    start()

    assert started == [NodeConfig()]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--listen-port", "70000"], "The setting 'listen_port' is wrong: "),
        (["--mtu", "500"], "The setting 'mtu' is wrong: "),
        (["--interface", "a-name-that-is-too-long"], "The setting 'interface' is "),
        (["--route", "10.0.0.0/33"], "The setting 'routes.0' is wrong: "),
        (["--config", "/nowhere.toml"], "The configuration file /nowhere.toml cannot"),
        (["--log-level", "loud"], "'loud' is not one of"),
        (["--listen-port", "many"], "'many' is not a valid integer"),
    ],
)
def test_wrong_usage_is_explained(
    options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(*options) == 2
    assert sentence in last_line(capsys)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("mwg1-AAAA", "The join token is damaged or incomplete; copy all of it again"),
        ("mwg2-AAAA", "The join token is damaged or incomplete; copy all of it again"),
        ("mwg3-AAAA", "The join token was made by a coordinator of another version"),
        ("http://x", "This is not a meshwg join token: those begin with mwg1-"),
        ("", "This is not a meshwg join token"),
    ],
)
def test_a_bad_token_is_explained_and_not_shown(
    token: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = str(tmp_path / "state")

    assert start("--join", token, "--state-dir", state) == 2
    line = last_line(capsys)
    assert line.startswith(f"meshwg: {sentence}")
    assert "AAAA" not in line


def test_a_node_without_a_mesh_says_how_to_join_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--state-dir", str(tmp_path / "state")) == 4
    assert "run 'meshwg node --join TOKEN'" in last_line(capsys)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 5}', "null"])
def test_a_damaged_membership_asks_for_another_token(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "membership.json").write_text(text)

    assert start("--state-dir", str(tmp_path)) == 2
    assert "is damaged: remove it and join again" in last_line(capsys)


def test_an_ordinary_user_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(module, "_may_administer_networks", lambda: False)

    assert start() == 5
    assert "run as root, or with CAP_NET_ADMIN" in last_line(capsys)


def test_the_capability_suffices_instead_of_root(
    started: list[NodeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(module, "_may_administer_networks", lambda: True)

    assert start() == 0
    assert len(started) == 1


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeConfig]:
    """Return the configurations that daemons would have been started with."""
    configurations: list[NodeConfig] = []

    async def note(config: NodeConfig, _: Callable[[], NodeConfig]) -> None:
        configurations.append(config)

    monkeypatch.setattr(daemon, "run", note)
    return configurations


def start(*options: str) -> Any:
    """Run ``meshwg node`` and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        run(["node", *options])
    return ended.value.code


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.strip().splitlines()[-1]
