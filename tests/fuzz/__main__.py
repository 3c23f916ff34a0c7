"""``python -m tests.fuzz``: attack everything for a while; 1 if something is found."""

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import Campaign, replay
from tests.fuzz.inputs import Case
from tests.fuzz.targets import TARGETS

DIRECTORY = Path("fuzz-findings")


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit status."""
    options = _parser().parse_args(arguments)
    if options.replay is not None:
        return _show(options.replay)
    kinds = [TARGETS[name] for name in options.target or TARGETS]
    campaign = Campaign(kinds, options.seed, options.directory)
    began = time.monotonic()
    campaign.run(options.seconds)
    for finding in campaign.findings:
        case = finding.case
        _say(
            f"{case.target}, seed {case.seed}, {len(case.inputs)} inputs: "
            f"{finding.text}"
        )
    if campaign.findings:
        _say(f"Cases are in {options.directory}: python -m tests.fuzz --replay FILE")
    _say(
        f"fuzz: seed {options.seed}, {campaign.inputs} inputs in {campaign.episodes} "
        f"episodes of {len(kinds)} targets, {time.monotonic() - began:.0f} s, "
        f"{len(campaign.findings)} findings"
    )
    return 1 if campaign.findings else 0


def _show(path: Path) -> int:
    case = Case.load(path)
    text = replay(TARGETS[case.target], case)
    _say(text or "This shows nothing any more.")
    return 0 if text is None else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    parser.add_argument("--directory", type=Path, default=DIRECTORY)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a saved case")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
