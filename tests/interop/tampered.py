"""Nodes as they are not: ``python -m tests.interop.tampered KIND`` is another meshwg.

``lawless`` lets its own machine send whatever it likes, whatever the policy says.
``settled`` has been up for longer than the minute in which connections are taken up
that began before.
"""

import sys
from unittest.mock import patch

from meshwg.cli import main
from meshwg.node.access import AccessControl
from meshwg.policy import filter as policy_filter


def tamper(kind: str) -> None:
    """Change this process into such a node."""
    if kind == "lawless":
        patch.object(AccessControl, "is_on", False).start()
    elif kind == "settled":
        patch.object(policy_filter, "PICK_UP", 0.0).start()
    else:
        raise SystemExit(f"There is no kind {kind!r}")


if __name__ == "__main__":
    tamper(sys.argv.pop(1))
    main()
