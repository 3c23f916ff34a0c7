"""``python -m coordinator`` is ``meshwg-coordinator``."""

from coordinator.cli import main

main()
