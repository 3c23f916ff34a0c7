"""``meshwg doctor``: each check by itself, and the verdict over all."""

import json
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from meshwg.cli import doctor as module
from meshwg.cli import hostchecks
from meshwg.cli.doctor import doctor, examine, node_findings, render
from meshwg.cli.finding import Finding
from tests.cli.daemon import FakeDaemon, a_report, serving


def test_a_node_that_works_has_nothing_to_mend() -> None:
    found = list(node_findings(a_report()["self"]))

    assert {each.severity for each in found} == {"ok"}
    codes = ["coordinator", "relay", "network", "mtu"]
    assert [each.code for each in found if each.code != "names"] == codes


@pytest.mark.parametrize(
    ("changed", "code", "severity"),
    [
        (
            {"coordinator": {"url": "x", "state": "offline", "error": "No."}},
            "coordinator",
            "failure",
        ),
        (
            {"relay": {"url": None, "state": "offline", "error": None}},
            "relay",
            "warning",
        ),
        ({"nat": None}, "network", "warning"),
        ({"nat": {"reachable": False}}, "network", "warning"),
        ({"mtu": 1000}, "mtu", "failure"),
        ({"state": "down"}, "state", "warning"),
    ],
)
def test_what_is_wrong_has_a_mend(
    changed: dict[str, Any], code: str, severity: str
) -> None:
    found = node_findings(a_report(**changed)["self"])

    (wrong,) = (each for each in found if each.severity != "ok")
    assert (wrong.code, wrong.severity) == (code, severity)
    assert wrong.mend


def test_the_policy_is_said() -> None:
    policy = {"version": 3, "default": "deny", "guard": False}

    found = list(node_findings(a_report(policy=policy)["self"]))

    assert found[-1].text == "version 3: what no rule allows is denied"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            {"mode": "systemd-resolved", "domain": "mesh.internal", "error": None},
            "those in mesh.internal are known by systemd-resolved",
        ),
        (
            {"mode": "off", "domain": None, "error": None},
            "left alone, as --no-dns says",
        ),
        ({"mode": "none", "domain": "mesh.internal", "error": "No port."}, None),
    ],
)
def test_how_names_are_known_is_said_unless_they_are_complained_of(
    names: dict[str, Any], text: str | None
) -> None:
    found = {each.code: each for each in node_findings(a_report(dns=names)["self"])}

    assert (found["names"].text if text else found.get("names")) == text


def test_without_a_daemon_the_machine_is_looked_at_all_the_same(
    tmp_path: Path, machine: Path
) -> None:
    found = {each.code: each for each in examine(str(tmp_path / "nowhere.sock"))}

    assert found["daemon"].severity == "failure"
    assert found["rp-filter"].text == "strict on eth0; the mesh works with that"
    assert found["tunnels"].text.startswith("meshwg0, wg0 (WireGuard): paths")
    assert found["tun"].severity == "failure"
    assert found["tun"].mend


def test_with_a_daemon_its_complaints_are_among_the_findings(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_clock", lambda url: Finding("clock", "ok", url))
    daemon = FakeDaemon()
    daemon.report = a_report()
    daemon.report["self"]["coordinator"]["url"] = "http://127.0.0.1:9"
    daemon.report["health"] = [
        {"code": "hot", "severity": "warning", "text": "It is hot.", "mend": ""},
        {"code": "coordinator", "severity": "failure", "text": "Away.", "mend": ""},
    ]
    path = tmp_path / "meshwg.sock"
    with serving(daemon, path):
        done = CliRunner().invoke(doctor, ["--json", "--control-socket", str(path)])

    checks = {each["code"]: each for each in json.loads(done.output)["checks"]}
    assert checks["hot"]["severity"] == "warning"
    assert checks["coordinator"]["severity"] == "ok"
    assert checks["dns"]["text"] == "127.0.0.1 is an address, and needs no name server"
    # There is no TUN device on this machine.
    assert done.exit_code == 1


def test_a_name_that_nobody_knows_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert module._name("https://mesh.example").severity == "failure"

    known = [(2, 1, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
    assert module._name("https://mesh.example").text == "mesh.example is 192.0.2.1"


@pytest.mark.parametrize(
    ("off", "severity", "text"),
    [
        (0.0, "ok", "agrees with the coordinator's"),
        (-3600.0, "warning", "ahead of the coordinator's"),
        (3600.0, "warning", "behind the coordinator's"),
    ],
)
def test_clocks_are_compared(off: float, severity: str, text: str) -> None:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", formatdate(time.time() + off, usegmt=True))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = module._clock(f"http://127.0.0.1:{server.server_port}")
        thread.join()

    assert found.severity == severity
    assert found.text.endswith(text)


def test_a_proxy_of_the_environment_is_asked_for_name_and_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class Leading(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(f"{self.path} {self.headers['Proxy-Authorization']}")
            self.send_response(200)
            self.end_headers()
            # What is asked for next is for the coordinator.
            self.close_connection = False

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Leading)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = f"http://me:secret@127.0.0.1:{server.server_port}"
    monkeypatch.setenv("http_proxy", where)
    monkeypatch.setenv("https_proxy", where)

    assert module._clock("http://mesh.test:8443").severity == "ok"
    name = module._name("https://mesh.test")
    server.shutdown()
    server.server_close()

    assert asked == ["mesh.test:8443 Basic bWU6c2VjcmV0"]
    assert name.text.startswith("mesh.test is looked up by the proxy http://127.0.0.1:")
    assert "secret" not in name.text


def test_a_coordinator_that_does_not_answer_leaves_the_clock_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

    found = module._clock(f"http://127.0.0.1:{port}")

    assert found.severity == "warning"
    assert found.text.startswith("nothing to compare with")


def test_findings_are_lines_with_the_mend_below() -> None:
    found = [Finding("tun", "ok", "is there"), Finding("dns", "failure", "no", "Ask.")]

    lines = [click.unstyle(line).rstrip() for line in render(found, 80)]

    assert lines == [
        "ok        tun  is there",
        "failure   dns  no",
        "               Ask.",
    ]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a machine without a TUN device, with a strict filter and a tunnel."""
    for name, text in (
        ("ipv4/conf/eth0/rp_filter", "1"),
        ("eth0/type", "1"),
        ("wg0/type", "65534"),
        ("meshwg0/type", "65534"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    monkeypatch.setattr(hostchecks, "TUN", tmp_path / "tun")
    monkeypatch.setattr(hostchecks, "SETTINGS", tmp_path)
    monkeypatch.setattr(hostchecks, "INTERFACES", tmp_path)
    return tmp_path
