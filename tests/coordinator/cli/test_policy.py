"""``meshwg-coordinator policy``, without a running server."""

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.mesh.operations import AddUser, Assign, NoteFlows
from meshwg.wire.control import SeenFlow
from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here

POLICY = """\
[[allow]]
from = ["alice@example.org"]
to = ["tag:db"]
ports = ["tcp/5432"]
note = "ticket 4711"

[[test]]
from = "alice@example.org"
allow = ["tag:db:tcp/5432"]
deny = ["tag:db:tcp/22"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the data directory of a mesh of a laptop and a database."""
    mesh = StoppedMesh(tmp_path / "data")
    mesh.perform(AddUser("alice@example.org"))
    mesh.join("laptop", "db-1", "guest")
    mesh.perform(Assign("laptop", "alice@example.org", ()), Assign("db-1", "", ("db",)))
    return tmp_path


def test_a_policy_is_checked_applied_and_shown(place: Path, here: Here) -> None:
    file = written(place, POLICY)

    assert said(here, place, "check", file) == (
        "The policy is right: 1 rules, 2 tests passed.\n"
    )
    assert said(here, place, "apply", file, "--comment", "first") == (
        "Policy version 1 is in force.\n"
    )
    assert said(here, place, "show") == POLICY
    (version,) = answer(here, place, "history")["versions"]
    assert version["version"] == 1
    assert version["comment"] == "first"
    assert "@" in version["author"]
    assert len(version["sha256"]) == 64


def test_a_policy_that_is_wrong_is_refused_with_its_line(
    place: Path, here: Here
) -> None:
    file = written(place, POLICY.replace("tcp/5432", "tcp/70000", 1))

    for command in ("check", "diff", "apply"):
        named = "Line 4 of the policy: 'tcp/70000' are no ports"
        arguments = ("policy", command, str(file))
        here.fails(place / "data", *arguments, status=2, named=named)
    assert answer(here, place, "history") == {"schema": 1, "versions": []}


def test_a_policy_that_fails_its_tests_is_refused(place: Path, here: Here) -> None:
    file = written(place, POLICY.replace("tcp/22", "tcp/5432"))

    here.fails(
        place / "data",
        *("policy", "apply", str(file)),
        status=2,
        named="Line 10 of the policy: the test fails",
    )


def test_what_would_change_is_shown_and_not_done(place: Path, here: Here) -> None:
    said(here, place, "apply", written(place, POLICY))
    other = written(place, POLICY.replace("tcp/5432", "tcp/5433"), "other")

    for arguments in (("diff", other), ("apply", other, "--dry-run")):
        assert answer(here, place, *arguments)["differences"] == [
            {
                "from": ["laptop"],
                "to": ["db-1"],
                "gained": ["tcp/5433"],
                "lost": ["tcp/5432"],
            }
        ]
    lines = said(here, place, "diff", other).splitlines()
    assert lines[1].split() == ["laptop", "db-1", "tcp/5433", "tcp/5432"]
    assert len(answer(here, place, "history")["versions"]) == 1
    same = said(here, place, "diff", written(place, POLICY))
    assert same.startswith("Nothing changes between the nodes that are there.\n")


def test_flows_that_would_be_cut_are_named(place: Path, here: Here) -> None:
    first = said(here, place, "diff", written(place, POLICY))
    assert "not known: there was no policy yet" in first
    assert answer(here, place, "diff", written(place, POLICY))["cut"] is None
    said(here, place, "apply", written(place, POLICY))
    other = written(place, POLICY.replace("tcp/5432", "tcp/5433"), "other")
    assert "It would cut no flow" in said(here, place, "diff", other)

    where = ("--data-dir", str(place / "data"), "--json")
    nodes = json.loads(here.run("node", "list", *where)[1].out)["nodes"]
    addresses = {each["name"]: each["addresses"][0] for each in nodes}
    seen = SeenFlow(
        source=addresses["laptop"], destination=addresses["db-1"], port="tcp/5432"
    )
    StoppedMesh(place / "data").perform(NoteFlows("db-1", (seen,)))

    (cut,) = answer(here, place, "apply", other, "--dry-run")["cut"]
    assert (cut["from"], cut["to"], cut["port"]) == ("laptop", "db-1", "tcp/5432")
    lines = said(here, place, "diff", other).splitlines()
    assert lines[-3] == "Flows of the last 7 days that would be cut:"
    assert lines[-1].split()[:3] == ["laptop", "db-1", "tcp/5432"]


def test_an_earlier_version_is_had_again_as_a_new_one(place: Path, here: Here) -> None:
    said(here, place, "apply", written(place, POLICY))
    said(here, place, "apply", written(place, POLICY + "# more\n"))

    assert said(here, place, "rollback", "1") == "Policy version 3 is in force.\n"
    assert said(here, place, "show") == POLICY
    assert said(here, place, "show", "2") == POLICY + "# more\n"
    here.fails(
        place / "data",
        *("policy", "rollback", "9"),
        status=1,
        named="There is no version 9",
    )


def test_a_verdict_is_explained_by_rules(place: Path, here: Here) -> None:
    said(here, place, "apply", written(place, POLICY))

    ends = ("--from", "laptop", "--to", "db-1")
    allowed = said(here, place, "explain", *ends, "--port", "tcp/5432")
    denied = said(here, place, "explain", *ends, "--port", "tcp/22")

    assert allowed.splitlines() == [
        "laptop to db-1, tcp/5432: ALLOWED by policy version 1",
        '  line 1  alice@example.org -> tag:db  tcp/5432  "ticket 4711"',
    ]
    assert denied.splitlines()[1].endswith('"ticket 4711": it is not for tcp/22')
    found = answer(here, place, "explain", *ends, "--port", "tcp/22")
    assert (found["verdict"], found["rules"][0]["line"]) == ("denied", 1)
    users = ("--from", "alice@example.org", "--to", "tag:db", "--port", "tcp/5432")
    assert answer(here, place, "explain", *users)["verdict"] == "allowed"
    nobody = said(here, place, "explain", "--from", "guest", "--to", "guest")
    assert nobody.splitlines()[1] == "  no rule comes near it"


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("--from", "x", "--to", "db-1"), 1, "There is no node, user or address x"),
        (("--from", "db-1", "--to", "db-1", "--port", "22"), 2, "is no port"),
    ],
)
def test_what_cannot_be_explained_is_said(
    place: Path, here: Here, arguments: tuple[str, ...], status: int, named: str
) -> None:
    said(here, place, "apply", written(place, POLICY))

    explain = ("policy", "explain", *arguments)
    here.fails(place / "data", *explain, status=status, named=named)


def test_without_a_policy_that_is_said(place: Path, here: Here) -> None:
    named = "There is no policy, so all nodes reach each other"
    ends = ("--from", "db-1", "--to", "db-1")
    here.fails(place / "data", "policy", "show", status=1, named=named)
    here.fails(place / "data", "policy", "explain", *ends, status=1, named=named)


def test_a_policy_of_tailscale_is_translated(place: Path, here: Here) -> None:
    text = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["tag:db:22"]}], }'

    status, output = here.run("policy", "import", written(place, text))

    assert status == 0
    assert 'to = ["tag:db"]' in output.out


def test_files_that_cannot_be_read_are_named(place: Path, here: Here) -> None:
    binary = place / "binary"
    binary.write_bytes(b"\xff\xfe")

    check = ("policy", "check")
    missing = "cannot be read (No such file or directory)"
    here.fails(place / "data", *check, "/nowhere", status=2, named=missing)
    here.fails(
        place / "data", *check, str(binary), status=2, named="is not a text in UTF-8"
    )


def written(place: Path, text: str, name: str = "policy.toml") -> str:
    file = place / name
    file.write_text(text)
    return str(file)


def said(here: Here, place: Path, *arguments: str) -> str:
    """Return what a command prints that succeeds."""
    where = ("--data-dir", str(place / "data"))
    status, output = here.run("policy", *arguments, *where)
    assert (status, output.err) == (0, "")
    return output.out


def answer(here: Here, place: Path, *arguments: str) -> dict[str, Any]:
    """Return what a command prints for programs."""
    found: dict[str, Any] = json.loads(said(here, place, *arguments, "--json"))
    return found
