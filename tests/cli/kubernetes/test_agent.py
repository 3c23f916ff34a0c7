"""``meshwg-k8s agent`` reads its options, and says what is wrong with them."""

from pathlib import Path

import pytest

from meshwg.cli.kubernetes import main
from meshwg.keys import format_key
from meshwg.runtime.kubernetes import process
from meshwg.runtime.kubernetes.settings import (
    DEFAULT_NETWORK_LISTS,
    DEFAULT_TOKEN_FILE,
    AgentSettings,
    Membership,
)

KEY = bytes(range(32))
URL = "https://mesh.example"
MESH = ("--coordinator", URL, "--coordinator-key", format_key(KEY))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[AgentSettings]:
    """The settings of agents that were started, none of which runs."""
    found: list[AgentSettings] = []

    async def run(settings: AgentSettings) -> None:
        found.append(settings)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return found


def test_options_become_settings(started: list[AgentSettings]) -> None:
    status = start(
        *MESH,
        *("--node-name", "n1", "--token-file", "/t", "--kubeconfig", "/k"),
        *("--api-server", "https://192.0.2.1:6443", "--cni-dir", "/cni"),
        *("--state-dir", "/s", "--interface", "mesh1", "--mtu", "1300"),
        "--encrypt-hosts",
    )
    assert status == 0
    (settings,) = started
    assert settings.node_name == settings.node.name == "n1"
    assert settings.membership == Membership(URL, KEY, Path("/t"))
    assert (settings.api.kubeconfig, settings.api.server) == (
        Path("/k"),
        "https://192.0.2.1:6443",
    )
    assert settings.network_lists == Path("/cni")
    assert settings.pods.encrypts_hosts
    node = settings.node
    assert (node.interface, node.mtu, node.dns) == ("mesh1", 1300, False)


def test_by_default_it_looks_where_kubelet_puts_things(
    started: list[AgentSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_NAME", "from-the-pod")
    assert start(*MESH) == 0
    (settings,) = started
    assert settings.node_name == "from-the-pod"
    assert settings.membership == Membership(URL, KEY, DEFAULT_TOKEN_FILE)
    assert settings.network_lists == DEFAULT_NETWORK_LISTS
    assert not settings.pods.encrypts_hosts


def test_a_join_token_takes_the_place_of_the_account(
    started: list[AgentSettings], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("mwg1-x\n")
    assert start("--join", f"@{token}") == 0
    (settings,) = started
    assert settings.membership is None
    assert settings.node.join == "mwg1-x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give --coordinator URL and --coordinator-key KEY, or --join TOKEN"),
        (("--coordinator", URL), "It is not said which mesh to join"),
        ((*MESH, "--join", "mwg1-x"), "A join token names the coordinator"),
        (("--coordinator", "ftp://x", *MESH[2:]), "looks like http://HOST:PORT"),
        ((*MESH[:2], "--coordinator-key", "x"), "'x' is no public key"),
        ((*MESH, "--interface", "a b"), "The setting 'interface' is wrong"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    started: list[AgentSettings],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    assert start(*options) == 2
    assert said in capsys.readouterr().err
    assert started == []


def test_without_privileges_nothing_is_begun(
    started: list[AgentSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert start(*MESH) == 5
    assert started == []


def start(*options: str) -> int:
    """Run the command; return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["agent", *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code
