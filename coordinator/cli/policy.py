"""``meshwg-coordinator policy``: who may reach what."""

import sys
from pathlib import Path
from typing import Any

import click

from coordinator.administration.policies import NO_POLICY
from coordinator.cli.common import (
    administration_options,
    echo_fitted,
    echo_json,
    json_option,
    run,
    time_text,
)
from coordinator.cli.desk import Desk, Record, open_desk
from coordinator.mesh.flows import KEPT
from coordinator.policy.diff import names_label
from coordinator.policy.document import MAX_TEXT
from coordinator.policy.hujson import from_hujson
from meshwg.errors import ConfigError, MeshError
from meshwg.policy.ports import parse_ports

DAYS = round(KEPT / 86400)


@click.group()
def policy() -> None:
    """Say who may reach what, and see what that means."""


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@administration_options
@json_option
def check(file: Path, as_json: bool, **where: Any) -> None:
    """See whether a policy would be accepted: its form, its names and its tests."""
    text = _read(file)

    async def checking() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("check-policy", text=text)
        if as_json:
            echo_json(answer)
        else:
            rules, tests = answer["rules"], answer["tests"]
            click.echo(f"The policy is right: {rules} rules, {tests} tests passed.")

    run(checking())


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@administration_options
@json_option
def diff(file: Path, as_json: bool, **where: Any) -> None:
    """Show which nodes would reach more of others than now, and which less.

    Also which flows that nodes have told of in the last days would be cut.
    """
    text = _read(file)

    async def comparing() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("diff-policy", text=text)
        _show_differences(answer, as_json)

    run(comparing())


@policy.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--comment", default="", metavar="TEXT", help="Shown in the history.")
@administration_options
@json_option
def apply_(
    file: Path, dry_run: bool, comment: str, as_json: bool, **where: Any
) -> None:
    """Have a policy from now on; FILE may be - for standard input."""
    text = _read(file)

    async def applying() -> None:
        async with open_desk(**where) as desk:
            if dry_run:
                answer = await desk.ask("diff-policy", text=text)
                _show_differences(answer, as_json)
            else:
                await _apply(desk, text, comment, as_json)

    run(applying())


@policy.command()
@click.argument("version", type=int)
@administration_options
@json_option
def rollback(version: int, as_json: bool, **where: Any) -> None:
    """Have an earlier version of the policy again, as a new one."""

    async def applying() -> None:
        async with open_desk(**where) as desk:
            found = await _version(desk, version)
            await _apply(desk, found["text"], f"again version {version}", as_json)

    run(applying())


@policy.command()
@click.argument("version", type=int, required=False)
@administration_options
@json_option
def show(version: int | None, as_json: bool, **where: Any) -> None:
    """Print the policy as it is, or an earlier VERSION."""

    async def showing() -> None:
        async with open_desk(**where) as desk:
            found = await _version(desk, version)
        if as_json:
            echo_json({"policy": found})
        else:
            text = found["text"]
            click.echo(text, nl=not text.endswith("\n"))

    run(showing())


@policy.command()
@administration_options
@json_option
def history(as_json: bool, **where: Any) -> None:
    """Show all versions of the policy, with who applied them and when."""

    async def showing() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("list-policy-versions")
        if as_json:
            echo_json(answer)
            return
        rows = [
            (
                str(each["version"]),
                time_text(each["at"]),
                each["author"],
                each["sha256"][:12],
                each["comment"] or "-",
            )
            for each in answer["versions"]
        ]
        head = ("VERSION", "APPLIED", "BY", "SHA256", "COMMENT")
        short = [row[:3] for row in rows]
        echo_fitted([(head, rows), (head[:3], short)], f"{NO_POLICY}.")

    run(showing())


@policy.command("explain")
@click.option("--from", "source", required=True, metavar="WHO", help="User or node.")
@click.option(
    "--to", "destination", required=True, metavar="WHOM", help="Node or address."
)
@click.option("--port", default="icmp", show_default=True, metavar="PORT")
@administration_options
@json_option
def explain_(
    source: str, destination: str, port: str, as_json: bool, **where: Any
) -> None:
    """Say whether one may reach another, by which rule, or what is missing.

    WHO and WHOM are names of nodes, users, tags as tag:NAME, or addresses behind nodes;
    PORT is tcp/5432, udp/53 or icmp.
    """
    try:
        parse_ports(port)
    except ValueError as error:
        raise ConfigError(f"--port {port} is no port: {error}") from None
    wanted = {"from": source, "to": destination, "port": port}

    async def explaining() -> None:
        async with open_desk(**where) as desk:
            answer = await desk.ask("explain-policy", query=wanted)
        if as_json:
            echo_json(answer)
        else:
            _show_explanation(answer, f"{source} to {destination}, {port}")

    run(explaining())


@policy.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_(file: Path) -> None:
    """Print what a policy of Tailscale's (HuJSON) says as one of this form."""
    click.echo(from_hujson(_read(file)), nl=False)


async def _apply(desk: Desk, text: str, comment: str, as_json: bool) -> None:
    answer = await desk.ask("apply-policy", text=text, query={"comment": comment})
    if as_json:
        echo_json(answer)
    else:
        click.echo(f"Policy version {answer['policy']['version']} is in force.")


async def _version(desk: Desk, version: int | None) -> Record:
    """Return a version of the policy with its text, by default the one in force.

    :raises MeshError: if there is none.
    """
    if version is None:
        answer = await desk.ask("show-policy")
    else:
        answer = await desk.ask("show-policy-version", version=str(version))
    if answer["policy"] is None:
        raise MeshError(NO_POLICY)
    found: Record = answer["policy"]
    return found


def _read(file: Path) -> str:
    """Return a file, or standard input for ``-``.

    :raises ConfigError: if it cannot be read.
    """
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MAX_TEXT + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(MAX_TEXT + 1)
        return data.decode()
    except OSError as error:
        raise ConfigError(
            f"The policy {file} cannot be read ({error.strerror}): name another file"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"The policy {file} is not a text in UTF-8: save it as one"
        ) from None


def _show_differences(answer: Record, as_json: bool) -> None:
    if as_json:
        echo_json(answer)
        return
    rows = [
        (
            names_label(each["from"]),
            names_label(each["to"]),
            ", ".join(each["gained"]) or "-",
            ", ".join(each["lost"]) or "-",
        )
        for each in answer["differences"]
    ]
    echo_fitted(
        [(("FROM", "TO", "GAINS", "LOSES"), rows)],
        "Nothing changes between the nodes that are there.",
    )
    click.echo()
    _show_cut(answer["cut"])


def _show_cut(cut: list[Record] | None) -> None:
    """Say which flows of the last days would be cut."""
    if cut is None:
        click.echo("Which flows that would cut is not known: there was no policy yet.")
        return
    if cut:
        click.echo(f"Flows of the last {DAYS} days that would be cut:")
    rows = [(c["from"], c["to"], c["port"], time_text(c["at"])) for c in cut]
    none = f"It would cut no flow that nodes have told of in the last {DAYS} days."
    echo_fitted([(("FROM", "TO", "PORT", "LAST SEEN"), rows)], none)


def _show_explanation(found: Record, what: str) -> None:
    verdict, version = found["verdict"].upper(), found["version"]
    click.echo(f"{what}: {verdict} by policy version {version}")
    if not found["rules"]:
        click.echo("  no rule comes near it")
    for each in found["rules"]:
        note = f'  "{each["note"]}"' if each["note"] else ""
        why = f": {each['missing']}" if each["missing"] else ""
        click.echo(f"  line {each['line']}  {each['rule']}{note}{why}")
