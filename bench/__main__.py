"""``python -m bench [NAME…]``: run the benchmarks, print tables, write their figures.

Every benchmark compares side by side in one run, because machines differ and drift:
only ratios mean something. Each writes ``bench/report/NAME.json``.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

REPORT = Path(__file__).parent / "report"

BENCHMARKS = {
    "tunnel": "one tunnel of meshwg-wg next to wireguard-go and boringtun: the targets",
    "scaling": "throughput with 1, 10, 100 and 1,000 active peers",
    "threads": "what threads and queues of the compiled core are worth",
    "flood": "an established session while others send what no session opens",
    "refusals": "first packets of one member while another's are refused",
    "policy": "what 500 rules and 10,000 flows cost a data path",
    "stun": "STUN requests per second and CPU per request, next to coturn",
    "relay": "packets through the relay and CPU for each, next to coturn",
    "paths": "how soon there is a path, and how well it survives: the targets",
    "control": "nodes held by one coordinator and by three; who learns of changes when",
    "start": "how soon a node is there, what it costs, how long its commands take",
    "node": "nodes next to a bare meshwg-wg; what 1,000 known and 50 active peers cost",
    "routers": "two routers of a network, killed, cut off, stopped: the targets",
    "floating": "a floating address whose holder stops, dies, fails: the targets",
    "floods": "what a node beside an attack notices, before, during and after",
    "exits": "what leaves a machine beside its exit, whatever happens to it",
    "kubernetes": "what one change costs in a cluster of 500 nodes",
    "idle": "memory and CPU of a device with 1,000 idle peers",
}


SETTINGS = {
    "rounds": ("BENCH_PAIRS", "how often everything is measured"),
    "seconds": ("BENCH_SECONDS", "for each transfer"),
    "busy": ("BENCH_BUSY", "busy loops beside the tunnel"),
}
"""Options, the variables that the benchmarks read, and what they mean."""


def main(arguments: list[str]) -> int:
    names = _parse(arguments)
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


def _parse(arguments: list[str]) -> list[str]:
    """Return the names, and put the settings where the benchmarks read them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    for option, (_, meaning) in SETTINGS.items():
        parser.add_argument(f"--{option}", type=int, metavar="N", help=meaning)
    given = parser.parse_args(arguments)
    for option, (variable, _) in SETTINGS.items():
        if (value := getattr(given, option)) is not None:
            os.environ[variable] = str(value)
    return list(given.names)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent / "netns-lab"))
    sys.exit(main(sys.argv[1:]))
