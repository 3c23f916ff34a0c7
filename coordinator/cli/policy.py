"""``meshwg-coordinator policy``: who may reach what."""

import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from coordinator.cli.common import (
    Mesh,
    administrator,
    database_options,
    echo_fitted,
    echo_json,
    json_option,
    open_mesh,
    run,
    time_text,
)
from coordinator.mesh.access import inventory_of
from coordinator.mesh.flows import KEPT, CutFlow, cut_by
from coordinator.mesh.operations import ApplyPolicy
from coordinator.mesh.policies import ActivePolicy, PolicyVersion
from coordinator.mesh.records import cut_record, difference_record, policy_record
from coordinator.mesh.registry import Registry
from coordinator.policy.compile import Policy
from coordinator.policy.diff import Difference, differences, names_label
from coordinator.policy.document import MAX_TEXT
from coordinator.policy.explain import Explanation, explain, rule_label
from coordinator.policy.hujson import from_hujson
from coordinator.policy.load import load_policy
from coordinator.policy.selectors import Party, Subject
from meshwg.errors import ConfigError, MeshError
from meshwg.policy.ports import ICMP, parse_ports

DAYS = round(KEPT / 86400)
NO_POLICY = (
    "There is no policy, so all nodes reach each other; 'meshwg-coordinator policy "
    "apply FILE' sets one"
)


@click.group()
def policy() -> None:
    """Say who may reach what, and see what that means."""


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@database_options
@json_option
def check(file: Path, as_json: bool, **where: Any) -> None:
    """See whether a policy would be accepted: its form, its names and its tests."""
    text = _read(file)

    async def checking() -> None:
        async with open_mesh(**where) as mesh:
            loaded = await _load(text, mesh)
        document = loaded.document
        rules, tests = len(document.allows), len(document.expectations)
        if as_json:
            echo_json({"rules": rules, "tests": tests})
        else:
            click.echo(f"The policy is right: {rules} rules, {tests} tests passed.")

    run(checking())


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@database_options
@json_option
def diff(file: Path, as_json: bool, **where: Any) -> None:
    """Show which nodes would reach more of others than now, and which less.

    Also which flows that nodes have told of in the last days would be cut.
    """
    text = _read(file)

    async def comparing() -> None:
        async with open_mesh(**where) as mesh:
            found = await _compare(text, mesh)
        _show_differences(*found, as_json)

    run(comparing())


@policy.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--comment", default="", metavar="TEXT", help="Shown in the history.")
@database_options
@json_option
def apply_(
    file: Path, dry_run: bool, comment: str, as_json: bool, **where: Any
) -> None:
    """Have a policy from now on; FILE may be - for standard input."""
    text = _read(file)

    async def applying() -> None:
        async with open_mesh(**where) as mesh:
            if dry_run:
                _show_differences(*await _compare(text, mesh), as_json)
                return
            await _apply(mesh, text, comment, as_json)

    run(applying())


@policy.command()
@click.argument("version", type=int)
@database_options
@json_option
def rollback(version: int, as_json: bool, **where: Any) -> None:
    """Have an earlier version of the policy again, as a new one."""

    async def applying() -> None:
        async with open_mesh(**where) as mesh:
            found = await _version(mesh, version)
            await _apply(mesh, found.text, f"again version {version}", as_json)

    run(applying())


@policy.command()
@click.argument("version", type=int, required=False)
@database_options
@json_option
def show(version: int | None, as_json: bool, **where: Any) -> None:
    """Print the policy as it is, or an earlier VERSION."""

    async def showing() -> None:
        async with open_mesh(**where) as mesh:
            found = await _version(mesh, version)
        if as_json:
            echo_json({"policy": {**policy_record(found), "text": found.text}})
        else:
            click.echo(found.text, nl=not found.text.endswith("\n"))

    run(showing())


@policy.command()
@database_options
@json_option
def history(as_json: bool, **where: Any) -> None:
    """Show all versions of the policy, with who applied them and when."""

    async def showing() -> None:
        async with open_mesh(**where) as mesh:
            versions = await mesh.store.policies()
        if as_json:
            echo_json({"versions": [policy_record(each) for each in versions]})
            return
        rows = [
            (
                str(each.version),
                time_text(each.at),
                each.author,
                each.sha256[:12],
                each.comment or "-",
            )
            for each in versions
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
@database_options
@json_option
def explain_(
    source: str, destination: str, port: str, as_json: bool, **where: Any
) -> None:
    """Say whether one may reach another, by which rule, or what is missing.

    WHO and WHOM are names of nodes, users, tags as tag:NAME, or addresses behind nodes;
    PORT is tcp/5432, udp/53 or icmp.
    """
    try:
        wanted = parse_ports(port)
    except ValueError as error:
        raise ConfigError(f"--port {port} is no port: {error}") from None
    number = 0 if wanted.protocol == ICMP else wanted.first

    async def explaining() -> None:
        async with open_mesh(**where) as mesh:
            registry = await mesh.registry()
        if registry.policy is None:
            raise MeshError(NO_POLICY)
        active = registry.policy
        ends = _party(source, registry), _party(destination, registry)
        found = explain(active.policy, *ends, wanted.protocol, number)
        _show_explanation(found, active, f"{source} to {destination}, {port}", as_json)

    run(explaining())


@policy.command("import")
@click.argument("file", type=click.Path(path_type=Path))
def import_(file: Path) -> None:
    """Print what a policy of Tailscale's (HuJSON) says as one of this form."""
    click.echo(from_hujson(_read(file)), nl=False)


async def _apply(mesh: Mesh, text: str, comment: str, as_json: bool) -> None:
    # A file that is wrong is wrong usage, which only this can tell from other failures.
    await _load(text, mesh)
    accepted = await mesh.perform(ApplyPolicy(text, administrator(), comment))
    assert accepted.policy is not None
    if as_json:
        echo_json({"policy": policy_record(accepted.policy)})
    else:
        click.echo(f"Policy version {accepted.policy.version} is in force.")


async def _load(text: str, mesh: Mesh) -> Policy:
    registry = await mesh.registry()
    users = {each.name: each for each in await mesh.store.users()}
    tags = frozenset(t for key in await mesh.store.auth_keys() for t in key.tags)
    nodes = [node for node in registry.nodes.values() if not node.expired]
    inventory = inventory_of(nodes, users, tags, registry.networks)
    return load_policy(text, inventory, [node.subject for node in nodes])


async def _compare(
    text: str, mesh: Mesh
) -> tuple[list[Difference], list[CutFlow] | None]:
    """Return what would change, and which flows of the last days would be cut.

    Without a policy nobody tells of flows.
    """
    new, registry = await _load(text, mesh), await mesh.registry()
    old = None if registry.policy is None else registry.policy.policy
    nodes = [node.subject for node in registry.nodes.values() if not node.expired]
    cut = None
    if old is not None:
        cut = cut_by(new, old, await mesh.store.flows(), registry)
    return differences(old, new, nodes), cut


async def _version(mesh: Mesh, version: int | None) -> PolicyVersion:
    versions = await mesh.store.policies()
    if not versions:
        raise MeshError(NO_POLICY)
    for each in versions:
        if version in (None, each.version):
            return each
    raise MeshError(
        f"There is no version {version} of the policy; 'meshwg-coordinator policy "
        "history' shows all"
    )


def _party(text: str, registry: Registry) -> Party:
    """Return whom a word of the command line means.

    :raises MeshError: if it means nobody.
    """
    key = registry.names.get(text.removeprefix("node:"))
    if key is not None:
        return registry.nodes[key].subject
    for node in registry.nodes.values():
        if text in registry.networks.addresses(node.number):
            return node.subject
    if text.startswith("tag:"):
        return Subject(text, tags=(text.removeprefix("tag:"),))
    if registry.policy is not None:
        host = registry.policy.policy.document.hosts.get(text)
        if host is not None:
            return host.network_address
    try:
        return ip_address(text)
    except ValueError:
        pass
    if any(node.owner == text for node in registry.nodes.values()) or "@" in text:
        return Subject(text, owner=text)
    raise MeshError(
        f"There is no node, user or address {text}; 'meshwg-coordinator node list' "
        "shows all nodes"
    )


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


def _show_differences(
    found: Sequence[Difference], cut: Sequence[CutFlow] | None, as_json: bool
) -> None:
    if as_json:
        listed = None if cut is None else [cut_record(each) for each in cut]
        changes = [difference_record(each) for each in found]
        echo_json({"differences": changes, "cut": listed})
        return
    rows = [
        (
            names_label(each.sources),
            names_label(each.destinations),
            ", ".join(map(str, each.gained)) or "-",
            ", ".join(map(str, each.lost)) or "-",
        )
        for each in found
    ]
    echo_fitted(
        [(("FROM", "TO", "GAINS", "LOSES"), rows)],
        "Nothing changes between the nodes that are there.",
    )
    click.echo()
    _show_cut(cut)


def _show_cut(cut: Sequence[CutFlow] | None) -> None:
    """Say which flows of the last days would be cut."""
    if cut is None:
        click.echo("Which flows that would cut is not known: there was no policy yet.")
        return
    if cut:
        click.echo(f"Flows of the last {DAYS} days that would be cut:")
    rows = [(c.source, c.destination, c.port, time_text(c.at)) for c in cut]
    none = f"It would cut no flow that nodes have told of in the last {DAYS} days."
    echo_fitted([(("FROM", "TO", "PORT", "LAST SEEN"), rows)], none)


def _show_explanation(
    found: Explanation, active: ActivePolicy, what: str, as_json: bool
) -> None:
    missing = found.missing or ("",) * len(found.rules)
    if as_json:
        rules = [
            {
                "line": r.line,
                "rule": rule_label(r),
                "note": r.note,
                "missing": m or None,
            }
            for r, m in zip(found.rules, missing, strict=True)
        ]
        verdict = "allowed" if found.allowed else "denied"
        version = active.record.version
        echo_json({"verdict": verdict, "version": version, "rules": rules})
        return
    verdict = "ALLOWED" if found.allowed else "DENIED"
    click.echo(f"{what}: {verdict} by policy version {active.record.version}")
    if not found.rules:
        click.echo("  no rule comes near it")
    for rule, lack in zip(found.rules, missing, strict=True):
        note = f'  "{rule.note}"' if rule.note else ""
        why = f": {lack}" if lack else ""
        click.echo(f"  line {rule.line}  {rule_label(rule)}{note}{why}")
