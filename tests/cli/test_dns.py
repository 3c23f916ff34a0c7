"""``meshwg dns``: what people and programs see."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshwg.cli.dns import render
from meshwg.cli.group import run
from meshwg.errors import MeshError
from tests.cli.daemon import FakeDaemon, serving

STATUS: dict[str, Any] = {
    "schema": 1,
    "mode": "file",
    "domain": "mesh.internal",
    "error": None,
    "servers": ["100.64.0.1:53", "127.0.77.53:53"],
    "forwards_to": ["192.0.2.1"],
    "reverse_zones": ["64.100.in-addr.arpa"],
    "records": 2,
    "drops": {},
}
FOUND: dict[str, Any] = {
    "schema": 1,
    "name": "db.mesh.internal",
    "code": "NOERROR",
    "in_mesh": True,
    "answers": [
        {
            "name": "db.mesh.internal",
            "type": "A",
            "ttl": 60,
            "value": "100.64.0.2",
        }
    ],
}


def command(path: Path, daemon: FakeDaemon, *arguments: str) -> object:
    where = path / "sock"
    with serving(daemon, where), pytest.raises(SystemExit) as end:
        run(["dns", *arguments, "--control-socket", str(where)])
    return end.value.code


def test_it_says_who_is_told_to_ask_where() -> None:
    lines = render(STATUS, 80)

    assert lines[0].split() == ["names", "end", "with", "mesh.internal"]
    assert any("100.64.0.1:53, 127.0.77.53:53" in line for line in lines)
    assert any("192.0.2.1" in line for line in lines)


def test_it_says_what_is_wrong() -> None:
    broken = STATUS | {"mode": "none", "error": "It is broken", "forwards_to": []}

    lines = render(broken, 80)

    assert lines[-1] == "It is broken."
    assert not any("asks for others" in line for line in lines)


def test_a_node_that_leaves_names_alone_says_so() -> None:
    off = {"schema": 1, "mode": "off", "domain": None, "error": None}

    assert render(off, 80) == [
        "This node leaves names alone: it was started with --no-dns."
    ]


@pytest.mark.parametrize(
    ("arguments", "report"), [(("status",), STATUS), (("query", "db"), FOUND)]
)
def test_json_is_what_the_daemon_says(
    arguments: tuple[str, ...],
    report: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    daemon = FakeDaemon()
    daemon.report = report

    assert command(tmp_path, daemon, *arguments, "--json") == 0

    assert json.loads(capsys.readouterr().out) == report


def test_answers_are_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = FakeDaemon()
    daemon.report = FOUND

    assert command(tmp_path, daemon, "query", "db", "--type", "a") == 0

    assert capsys.readouterr().out.split() == [
        *("db.mesh.internal", "60", "A", "100.64.0.2")
    ]
    assert daemon.requests == [{"name": "db", "type": "A"}]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("NXDOMAIN", "Nothing is called db.mesh.internal"),
        ("NOERROR", "has no such records"),
        ("SERVFAIL", "There is no answer for db.mesh.internal (SERVFAIL)"),
    ],
)
def test_no_answer_is_an_error(
    code: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = FOUND | {"answers": [], "code": code}

    assert command(tmp_path, daemon, "query", "db") == 1

    assert sentence in capsys.readouterr().err


def test_what_the_daemon_refuses_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.refusal = MeshError("This node is down")

    assert command(tmp_path, daemon, "query", "db") == 1

    assert "This node is down" in capsys.readouterr().err
