"""The lab as a program: ``python netns-lab run``, ``shell``, ``list``, ``clean``."""

import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import scenarios
from netlab import (
    matrix,
    preflight,
    presets,
    registry,
    shell,
    signals,
    terminal,
    wireguard,
)
from netlab.errors import GoMissing, LabError
from netlab.kubernetes import programs
from netlab.lab import Lab
from netlab.matrix import Cell, Faults
from netlab.presets import Preset
from netlab.report import write
from netlab.results import MatrixResult, Report, ScenarioResult
from netlab.scenario import Narrator, Scenario, Step
from netlab.terminal import MatrixView
from netlab.topology import Topology

MATRIX = "matrix"
REPORT = Path(__file__).parent / "report"
ENGINES = {"meshwg": wireguard.MESHWG, "wireguard-go": wireguard.WIREGUARD_GO}
INTERRUPTED = 128 + signal.SIGINT


@click.group()
def cli() -> None:
    """An internet of NATs in network namespaces, and what meshwg does in it."""


@cli.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--runs", type=click.IntRange(1), default=1, help="How many times each runs."
)
@click.option(
    "--matrix",
    "size",
    type=click.Choice(list(matrix.SIZES)),
    default="full",
    show_default=True,
    help="How many kinds of NAT are paired.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="meshwg",
    help="The program that runs plain WireGuard interfaces.",
)
@click.option(
    "--fault",
    "faults",
    metavar="KIND=OTHER",
    multiple=True,
    help="Make routers of one kind behave like another; the matrix should find it.",
)
@click.option(
    "--no-relay", is_flag=True, help="A further fault: the matrix has no relay."
)
@click.option("--hold", is_flag=True, help="Keep each running until Ctrl-C.")
@click.option(
    "--report",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=REPORT,
    help="Where matrix.json, matrix.svg and index.html go.",
)
def run(
    names: tuple[str, ...],
    runs: int,
    size: str,
    engine: str,
    faults: tuple[str, ...],
    no_relay: bool,
    hold: bool,
    directory: Path,
) -> None:
    """Run scenarios, the NAT matrix (named "matrix"), or by default all of it."""
    chosen = names or (*scenarios.ALL, MATRIX)
    played = [_scenario(name) for name in chosen if name != MATRIX]
    seeded = Faults(dict(map(_disguise, faults)), relay=not no_relay)
    preflight.check()
    _clean()
    report = Report()
    try:
        for _ in range(runs):
            for scenario in played:
                _play(scenario, report, engine, hold)
            if MATRIX in chosen:
                _fill(matrix.SIZES[size], seeded, report, hold)
    except LabError:
        write(report, directory)
        raise
    write(report, directory)
    for sentence in report.verdicts:
        click.secho(sentence, bold=True)
    click.echo(f"The report is {directory / 'index.html'}.")
    if not report.is_good:
        sys.exit(1)


@cli.command("shell", context_settings={"ignore_unknown_options": True})
@click.argument("name", default="")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def open_shell(name: str, command: tuple[str, ...]) -> None:
    """Open a shell, or run a command, in a machine of a running scenario."""
    shell.enter(name, command)


@cli.command()
def build() -> None:
    """Build Kubernetes, for the tests and the scenario that run a cluster of it."""
    try:
        if not programs.is_built():
            click.echo("Building Kubernetes and etcd: that takes a quarter of an hour.")
        with signals.exit_in_good_order():
            click.echo(f"Kubernetes {programs.version()} is in {programs.build()}.")
    except GoMissing as error:
        # Like Debian's packages: what needs it is skipped, and says so.
        click.echo(f"Not built: {error}", err=True)


@cli.command("list")
def list_labs() -> None:
    """List the labs on this machine with their namespaces."""
    for record in registry.records():
        owner = record.owner
        state = f"process {owner.pid}" if owner.alive else "left by a killed run"
        click.secho(f"{record.prefix}  {owner.title}  ({state})", bold=True)
        for machine, namespace in zip(record.machines, record.namespaces, strict=True):
            click.echo(f"  {machine:24} {namespace}")


@cli.command()
def clean() -> None:
    """Remove what killed runs left behind."""
    if not _clean():
        click.echo("There is nothing to remove.")


def main() -> None:
    """Run the program; an error that a user can mend is reported in one sentence."""
    try:
        with signals.never_lost():
            cli.main(prog_name="netns-lab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LabError as error:
        click.echo(f"netns-lab: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\nInterrupted; the machine is as it was before.", err=True)
        sys.exit(INTERRUPTED)


def _scenario(name: str) -> Scenario[Any]:
    try:
        return scenarios.ALL[name]
    except KeyError:
        known = ", ".join((*scenarios.ALL, MATRIX))
        raise click.BadParameter(f"{name}: there are {known}.") from None


def _disguise(fault: str) -> tuple[str, Preset]:
    kind, _, other = fault.partition("=")
    for name in (kind, other):
        if name not in presets.ALL:
            known = ", ".join(presets.ALL)
            raise click.BadParameter(f"{fault}: the kinds are {known}.")
    return kind, presets.ALL[other]


def _play(scenario: Scenario[Any], report: Report, engine: str, hold: bool) -> None:
    """Run one scenario and add its result to the report."""
    click.secho(f"\n{scenario.name}: {scenario.title}", bold=True)
    result = ScenarioResult(scenario.name, scenario.title, scenario.story)
    report.scenarios.append(result)

    def tell(step: Step) -> None:
        _tell(step)
        if step.seconds is not None:
            result.steps.append(step)

    def remember(topology: Topology) -> None:
        result.topology = topology

    try:
        with Lab(title=scenario.name, engine=ENGINES[engine], record=True) as lab:
            scenario.run(lab, tell, remember)
            if hold:
                _hold(lab)
    except LabError as error:
        result.error = str(error)
        click.secho(f"    {error}", fg="red")


def _fill(kinds: Sequence[Preset], faults: Faults, report: Report, hold: bool) -> None:
    """Run the matrix and add its result to the report."""
    cells = matrix.cells(kinds)
    click.secho(f"\n{MATRIX}: {len(kinds)} kinds, {len(cells)} pairs", bold=True)
    view = MatrixView(kinds, len(cells), terminal.console())
    started = time.monotonic()
    with Lab(title=MATRIX, record=True) as lab:
        with Narrator(_tell).step(f"{2 * len(kinds)} nodes have joined one mesh"):
            mesh = matrix.build(lab, kinds, faults)
        with view.shown():
            outcomes = matrix.run(mesh, cells, view.tell)
        result = MatrixResult(kinds, outcomes, time.monotonic() - started)
        report.matrices.append(result)
        lab.keep_files = bool(result.problems)
        view.finish(outcomes, _evidence(lab, result))
        if hold:
            _hold(lab)


def _evidence(lab: Lab, result: MatrixResult) -> dict[Cell, Path]:
    """Save the captured packets of each cell that failed."""
    if lab.evidence is None:
        return {}
    return {
        cell: lab.evidence.save(
            lab.directory / f"{str(cell).replace(' ', '-')}.pcap",
            [lab.host(name) for name in cell.nodes],
        )
        for cell in result.problems
    }


def _hold(lab: Lab) -> None:
    names = ", ".join(sorted(lab.machines))
    click.echo(f"  It runs until Ctrl-C. 'make lab-shell NAME=…': {names}")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _tell(step: Step) -> None:
    """Print a step; on a terminal, also while it runs."""
    if step.seconds is None:
        if sys.stdout.isatty():
            click.echo(f"  … {step.sentence}", nl=False)
        return
    if sys.stdout.isatty():
        click.echo("\r", nl=False)
    mark, colour = ("✗", "red") if step.error else ("✓", "green")
    click.echo(f"  {click.style(mark, fg=colour)} {step.sentence}", nl=False)
    click.secho(f"  {step.seconds:.1f} s", dim=True)


def _clean() -> list[str]:
    removed = Lab.clean()
    for prefix in removed:
        click.echo(f"Removed the lab {prefix}, which a killed run had left.")
    return removed


if __name__ == "__main__":
    main()
