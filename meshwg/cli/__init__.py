"""``meshwg``: the commands.

Nothing is imported before it is needed: ``meshwg-wg`` shares this package and starts
without any of it.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end with its exit status: the console script."""
    from meshwg.cli.startup import kept

    with kept():
        from meshwg.cli.group import run
    run(arguments)
