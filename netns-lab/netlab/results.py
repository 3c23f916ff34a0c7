"""The results of a run of the lab."""

import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from netlab.encounter import Outcome
from netlab.matrix import Cell
from netlab.presets import Preset
from netlab.scenario import Step
from netlab.topology import Topology


@dataclass(slots=True)
class ScenarioResult:
    """One run of a scenario."""

    name: str
    title: str
    story: str
    """The docstring of its module."""
    topology: Topology | None = None
    steps: list[Step] = field(default_factory=list)
    """In the order in which they ended."""
    error: str = ""

    @property
    def seconds(self) -> float:
        return sum(step.seconds or 0.0 for step in self.steps)


@dataclass(slots=True)
class MatrixResult:
    """One run of the matrix."""

    kinds: Sequence[Preset]
    outcomes: Mapping[Cell, Outcome]
    seconds: float

    @property
    def problems(self) -> dict[Cell, Outcome]:
        return {c: o for c, o in self.outcomes.items() if not o.as_expected}


@dataclass(slots=True)
class Report:
    """All results of one ``make lab``."""

    scenarios: list[ScenarioResult] = field(default_factory=list)
    matrices: list[MatrixResult] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    made_at: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M %Z"))

    @property
    def small_print(self) -> str:
        named = ", ".join(
            f"{name} {version}" for name, version in self.versions.items()
        )
        return f"{self.made_at}: {named}"

    @property
    def is_good(self) -> bool:
        """Whether all scenarios hold and all pairs got the expected path."""
        failed = any(each.error for each in self.scenarios)
        return not failed and not any(each.problems for each in self.matrices)

    @property
    def verdicts(self) -> list[str]:
        """The verdicts, in sentences."""
        said = []
        if self.scenarios:
            good = sum(not each.error for each in self.scenarios)
            said.append(f"{good} of {len(self.scenarios)} scenarios hold.")
        for each in self.matrices:
            good = len(each.outcomes) - len(each.problems)
            said.append(
                f"{good} of {len(each.outcomes)} pairs of networks got the best path "
                f"that is possible, in {each.seconds:.0f} s."
            )
        return said


def versions() -> dict[str, str]:
    """Return the versions of the programs that a run depends on."""
    found = {"meshwg": metadata.version("meshwg")}
    commit = _output("git", "rev-parse", "--short", "HEAD")
    if commit:
        found["meshwg"] += f" ({commit})"
    found["Python"] = platform.python_version()
    found["Linux"] = platform.release()
    nftables = _output("nft", "--version").split()
    if len(nftables) > 1:
        found["nftables"] = nftables[1].removeprefix("v")
    return found


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return done.stdout.strip()
