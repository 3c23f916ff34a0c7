"""The lab as a program: ``python netns-lab run``, ``shell``, ``list``, ``clean``."""

import contextlib
import signal
import sys
from typing import Any

import click

import scenarios
from netlab import preflight, registry, shell, wireguard
from netlab.errors import LabError
from netlab.lab import Lab
from netlab.scenario import Scenario, Step

ENGINES = {"meshwg": wireguard.MESHWG, "wireguard-go": wireguard.WIREGUARD_GO}
INTERRUPTED = 128 + signal.SIGINT


@click.group()
def cli() -> None:
    """An internet of NATs in network namespaces, and what meshwg can do there."""


@cli.command()
@click.argument("names", metavar="[SCENARIO]...", nargs=-1)
@click.option("--runs", type=click.IntRange(1), default=1, help="How often each runs.")
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="meshwg",
    help="The program behind plain WireGuard interfaces.",
)
@click.option("--hold", is_flag=True, help="Keep each running until Ctrl-C.")
def run(names: tuple[str, ...], runs: int, engine: str, hold: bool) -> None:
    """Build scenarios and verify them: by default all, one after the other."""
    chosen = [_scenario(name) for name in names or scenarios.ALL]
    preflight.check()
    _clean()
    failures = 0
    for scenario in chosen * runs:
        click.secho(f"\n{scenario.name}: {scenario.title}", bold=True)
        failures += not _run(scenario, engine, hold)
    total = len(chosen) * runs
    click.echo(f"\n{total - failures} of {total} scenarios are as they should be.")
    if failures:
        sys.exit(1)


@cli.command("shell", context_settings={"ignore_unknown_options": True})
@click.argument("name", default="")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def open_shell(name: str, command: tuple[str, ...]) -> None:
    """Open a shell, or run a command, in a machine of a running scenario."""
    shell.enter(name, command)


@cli.command("list")
def list_labs() -> None:
    """List the labs of this machine with their namespaces."""
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
    """Run the program; what a person can mend ends it with one sentence."""
    try:
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
        known = ", ".join(scenarios.ALL)
        raise click.BadParameter(f"{name}: there are {known}.") from None


def _run(scenario: Scenario[Any], engine: str, hold: bool) -> bool:
    """Run one scenario and return whether it is as it should be."""
    try:
        with Lab(title=scenario.name, engine=ENGINES[engine]) as lab:
            scenario.run(lab, _tell)
            if hold:
                _hold(lab)
    except LabError as error:
        click.secho(f"    {error}", fg="red")
        return False
    return True


def _hold(lab: Lab) -> None:
    names = ", ".join(sorted(lab.machines))
    click.echo(f"  It stays until Ctrl-C. 'make lab-shell NAME=…': {names}")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _tell(step: Step) -> None:
    """Print a step; on a terminal it can be seen while it runs."""
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
