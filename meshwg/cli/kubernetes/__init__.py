"""``meshwg-k8s``: a mesh as the network of a Kubernetes cluster."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end with its exit status: the console script."""
    from meshwg.cli.startup import kept

    with kept():
        from meshwg.cli.kubernetes.group import run
    run(arguments)
