"""Writes the manual pages in ``docs/man`` from what the programs say of themselves.

``python -m tests.manual`` after a change of a command; tests/test_manual.py notices
commands that are missing.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from coordinator.cli import coordinator
from meshwg import __version__
from meshwg.cli.group import meshwg
from meshwg.cli.kubernetes.group import meshwg_k8s

DIRECTORY = Path(__file__).parents[1] / "docs" / "man"
PROGRAMS: dict[str, tuple[click.Group, str]] = {
    "meshwg": (meshwg, "one private network for laptops and servers behind NATs"),
    "meshwg-coordinator": (coordinator, "coordinate a private network of your own"),
    "meshwg-k8s": (meshwg_k8s, "a mesh as the network of a Kubernetes cluster"),
}
STATUSES = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "wrong usage, or an invalid setting"),
    ("3", "the daemon is not running"),
    ("4", "this node has not joined a mesh"),
    ("5", "not permitted"),
    ("6", "this node was removed from its mesh"),
)


def page(name: str) -> str:
    """Return the manual page of a program, as roff."""
    group, summary = PROGRAMS[name]
    context = click.Context(group, info_name=name)
    lines = [
        f'.TH {name.upper()} 1 "" "meshwg {__version__}" "User commands"',
        ".SH NAME",
        f"{name} \\- {summary}",
        ".SH SYNOPSIS",
        f".B {name}",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH COMMANDS",
        *_commands(group, context),
        ".SH EXIT STATUS",
    ]
    for status, meaning in STATUSES:
        lines += [".TP", f".B {status}", meaning]
    lines += [
        ".SH ENVIRONMENT",
        "Every option of the daemon is also a variable, such as",
        ".BR MESHWG_STATE_DIR ;",
        "those of the coordinator begin with",
        ".BR MESHWG_COORDINATOR_ .",
        ".SH SEE ALSO",
        ", ".join(f"{each}(1)" for each in PROGRAMS if each != name) + ", wg(8)",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
        else:
            yield from _command(command, inner)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f".SS {_escaped(context.command_path)}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".B {_escaped(context.command_path)}"
    yield _escaped(usage)
    for paragraph in (command.help or "").split("\n\n"):
        is_literal = paragraph.startswith("\b")
        text = paragraph.removeprefix("\b").strip("\n")
        yield ".PP"
        yield from (
            (".nf", *map(_escaped, text.splitlines()), ".fi")
            if is_literal
            else (_escaped(" ".join(text.split())),)
        )
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in record[0]:
            yield from (".TP", f".B {_escaped(record[0])}", _escaped(record[1]))


def _escaped(text: str) -> str:
    """Return a text in which roff sees no requests."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def main() -> None:
    """Write all pages."""
    DIRECTORY.mkdir(exist_ok=True)
    for name in PROGRAMS:
        (DIRECTORY / f"{name}.1").write_text(page(name))


if __name__ == "__main__":
    main()
