"""The manifest as it is printed."""

import pytest
import yaml
from click.testing import CliRunner

from meshwg.cli.kubernetes.group import meshwg_k8s
from meshwg.errors import ConfigError
from meshwg.kubernetes.manifest import AGENT, COORDINATOR, VIP

URL, KEY = "http://203.0.113.7:8443", f"{'A' * 43}="
MINIMUM = ("--coordinator", URL, "--coordinator-key", KEY)


def test_it_is_yaml_that_kubectl_takes() -> None:
    objects = list(yaml.safe_load_all(printed(*MINIMUM, "--vip", "10.60.0.10")))
    for each in objects:
        assert {"apiVersion", "kind", "metadata"} <= set(each)
    names = {each["metadata"]["name"] for each in objects}
    assert names == {AGENT, COORDINATOR, VIP, "meshwg"}


def test_it_has_no_anchors_which_people_would_have_to_follow() -> None:
    assert "&id" not in printed(*MINIMUM, "--vip", "10.60.0.10")


def test_files_in_it_are_written_as_they_are() -> None:
    assert '  coordinator.toml: |\n    listen = "0.0.0.0:8443"\n' in printed(*MINIMUM)


def test_without_the_coordinators_key_it_is_said_how_to_go_on() -> None:
    text = printed("--coordinator", URL, "--namespace", "mesh")
    assert "kubectl -n mesh exec deployment/meshwg-coordinator" in text
    names = {each["metadata"]["name"] for each in yaml.safe_load_all(text)}
    assert names == {COORDINATOR}


def test_what_is_said_is_in_it() -> None:
    text = printed(
        *MINIMUM,
        *("--without-coordinator", "--image", "registry.example.org/meshwg:2"),
        *("--namespace", "mesh", "--flannel"),
        *("--api-server", "https://203.0.113.7:6443"),
    )
    (agent,) = [e for e in yaml.safe_load_all(text) if e["kind"] == "DaemonSet"]
    assert agent["metadata"]["namespace"] == "mesh"
    (container,) = agent["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.org/meshwg:2"
    (settings,) = [e for e in yaml.safe_load_all(text) if e["kind"] == "ConfigMap"]
    assert settings["data"]["MESHWG_FLANNEL"] == "yes"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--coordinator", URL, "--without-coordinator"), "--coordinator-key"),
        (("--coordinator", "ftp://x"), "coordinator's URL"),
        (("--coordinator", URL, "--coordinator-key", "short"), "is no key"),
        ((*MINIMUM, "--namespace", "it's"), "--namespace it's is no name"),
        ((*MINIMUM, "--coordinator-node", "a b"), "--coordinator-node a b"),
        ((*MINIMUM, "--issuer", "http://issuer"), "is no https URL"),
        ((*MINIMUM, "--api-server", "203.0.113.7:6443"), "is no https URL"),
        ((*MINIMUM, "--vip", "10.60.0.0/24"), "is no address"),
        ((*MINIMUM, "--vip-check", "6443"), "cannot be checked"),
        ((*MINIMUM, "--vip-lease", "vip"), "names no Lease"),
    ],
)
def test_what_could_not_work_is_refused(words: tuple[str, ...], what: str) -> None:
    result = CliRunner().invoke(meshwg_k8s, ["manifest", *words])
    assert isinstance(result.exception, ConfigError)
    assert what in str(result.exception)
    assert result.output == ""


def printed(*words: str) -> str:
    result = CliRunner().invoke(
        meshwg_k8s, ["manifest", *words], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output
