"""Commands that ask the database, or a coordinator elsewhere: the answers are alike."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from coordinator.administration.problems import Problem, Trouble
from coordinator.cli.desk import open_desk, refused
from meshwg.errors import MeshError
from tests.coordinator.programs import Here, Program

POLICY = '[[allow]]\nfrom = ["any"]\nto = ["any"]\nports = ["tcp/22"]\n'


class Elsewhere:
    """The administration of a running coordinator, over HTTP."""

    def __init__(self, here: Here, server: Program, file: Path) -> None:
        self._here = here
        self._where = ("--server", server.url, "--token-file", str(file))

    def said(self, *arguments: str) -> str:
        status, output = self._here.run(*arguments, *self._where)
        assert status == 0, output.err
        return output.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def fails(self, *arguments: str) -> tuple[object, str]:
        status, output = self._here.run(*arguments, *self._where)
        assert output.out == ""
        return status, output.err


@pytest.fixture
def elsewhere(common: Program, here: Here) -> Elsewhere:
    return Elsewhere(here, common, common.data_dir / "admin.token")


def test_every_command_of_the_administration_asks_elsewhere(
    elsewhere: Elsewhere, common: Program, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY)

    assert elsewhere.said("user", "add", "alice") == "alice is known.\n"
    token = elsewhere.json("token", "create", "--owner", "alice")
    assert elsewhere.said("token", "revoke", token["id"]).startswith("Token ")
    elsewhere.said("dns", "add", "api", "A", "10.0.0.5")
    assert "is A no longer" in elsewhere.said("dns", "remove", "api")
    assert "right: 1 rules" in elsewhere.said("policy", "check", str(file))
    assert elsewhere.json("policy", "diff", str(file))["cut"] is None
    assert "version 1" in elsewhere.said("policy", "apply", str(file))
    assert elsewhere.said("policy", "show") == POLICY
    file.write_text("# nothing\n")
    assert "version 2" in elsewhere.said("policy", "apply", str(file))
    assert "version 3" in elsewhere.said("policy", "rollback", "1")
    ends = ("--from", "10.0.0.1", "--to", "10.0.0.2", "--port", "tcp/22")
    assert "by policy version" in elsewhere.said("policy", "explain", *ends)
    for command in ("node", "route", "peer", "user", "token", "dns", "apitoken"):
        assert elsewhere.json(command, "list") == common.json(command, "list")
    assert elsewhere.json("policy", "history") == common.json("policy", "history")
    assert "is whole" in elsewhere.said("audit", "--verify")
    rows = [json.loads(row) for row in elsewhere.said("audit", "--json").splitlines()]
    assert {row["actor"] for row in rows} == {"administration over HTTP"}


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("node", "rename", "nobody", "x"), 1, "There is no node nobody"),
        (("node", "remove", "nobody"), 1, "There is no node nobody"),
        (("token", "revoke", "ffffffffffff"), 1, "There is no token ffffffffffff"),
        (("token", "create", "--expires", "x"), 2, "is not a lifetime"),
        (("user", "disable", "nobody"), 1, "There is no user nobody"),
        (("route", "approve", "nobody", "exit"), 1, "There is no node nobody"),
        (("dns", "add", "api", "A", "x"), 2, "There is no such record"),
        (("peer", "show", "nobody"), 1, "There is no plain WireGuard peer nobody"),
        (("policy", "show", "99"), 1, "There is no"),
    ],
)
def test_what_is_wrong_is_said_with_the_same_status(
    elsewhere: Elsewhere, arguments: tuple[str, ...], status: int, named: str
) -> None:
    got, said = elsewhere.fails(*arguments)
    assert (got, named in said) == (status, True), said
    assert len(said.splitlines()) == 1


def test_a_token_that_may_not_do_it_ends_with_not_permitted(
    common: Program, here: Here, tmp_path: Path
) -> None:
    made = common.json("apitoken", "create", "x", "--role", "auditor")
    file = tmp_path / "token"
    file.write_text(made["token"] + "\n")
    auditor = Elsewhere(here, common, file)

    assert auditor.json("node", "list")["nodes"] == []
    status, said = auditor.fails("token", "create")
    assert (status, "tokens:write" in said) == (5, True)
    file.write_text("wrong")
    status, said = auditor.fails("node", "list")
    assert (status, "token is wrong" in said) == (5, True)


@pytest.mark.parametrize(
    ("options", "status", "named"),
    [
        (("--server", "https://mesh.example.org"), 2, "needs --token-file"),
        (("--token-file", "x"), 2, "goes with --server"),
        (
            ("--server", "https://x", "--token-file", "/nowhere"),
            2,
            "cannot be read from /nowhere",
        ),
        (("--server", "x", "--token-file", os.devnull), 2, "There is no API token"),
        (("--server", "unix:/nowhere/x"), 1, "cannot be reached"),
    ],
)
def test_where_nobody_can_be_asked_that_is_said(
    here: Here, tmp_path: Path, options: tuple[str, ...], status: int, named: str
) -> None:
    here.fails(tmp_path, "node", "list", *options, status=status, named=named)


async def test_what_is_none_stays_out(tmp_path: Path, common: Program) -> None:
    async with open_desk(data_dir=common.data_dir) as desk:
        made = await desk.ask("create-token", body={"uses": None, "owner": None})
        assert made["max_uses"] == 1
        assert "schema" not in made
        with pytest.raises(Problem, match="'limit' is wrong"):
            await desk.ask("list-nodes", query={"limit": 0, "cursor": None})


def test_only_the_problem_that_is_meant_is_said_in_other_words() -> None:
    missing = Problem(404, Trouble.UNKNOWN, "There is none")
    assert str(refused(missing, "other words", Trouble.UNKNOWN)) == "other words"
    assert refused(missing, "other words", Trouble.OUTDATED) is missing
    plain = MeshError("as it is")
    assert refused(plain, "other words", Trouble.UNKNOWN) is plain
