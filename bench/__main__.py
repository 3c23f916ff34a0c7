"""``python -m bench [NAME…]``: run the benchmarks, print tables, write their figures.

Every benchmark compares side by side in one run, because machines differ and drift:
only ratios mean something. Each writes ``bench/report/NAME.json``.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parent / "report"

BENCHMARKS = {
    "tunnel": "TCP throughput and round trip through a tunnel, next to wireguard-go",
    "policy": "what 500 rules and 10,000 flows cost a data path",
    "stun": "STUN requests per second and CPU per request, next to coturn",
    "relay": "packets through the relay and CPU for each, next to coturn",
    "paths": "how soon there is a path, and how well it survives: the targets",
    "control": "nodes held by one coordinator, and how fast they learn of a change",
    "start": "how soon a node is there, what it costs, how long its commands take",
    "node": "memory, CPU and packets of a node with 1,000 known and 50 active peers",
    "idle": "memory and CPU of a device with 1,000 idle peers",
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        known = ", ".join(BENCHMARKS)
        print(
            f"There is no benchmark {unknown[0]!r}; there are: {known}", file=sys.stderr
        )
        return 2
    if os.geteuid() != 0:
        print("The benchmarks make network namespaces: run as root", file=sys.stderr)
        return 5
    REPORT.mkdir(exist_ok=True)
    for name in names or BENCHMARKS:
        print(f"\n{name}: {BENCHMARKS[name]}", flush=True)
        figures: dict[str, Any] = importlib.import_module(f"bench.{name}").run()
        (REPORT / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\nFigures written to {REPORT.relative_to(Path.cwd())}/")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent / "netns-lab"))
    sys.exit(main(sys.argv[1:]))
