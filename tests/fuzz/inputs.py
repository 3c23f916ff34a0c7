"""One input of a target, and files of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Input:
    """What a target is given at once."""

    way: str
    """By which of its entrances."""
    data: bytes = b""
    choice: int = 0
    """Which of several sources, links or connections; or a seed of its own."""


@dataclass(frozen=True, slots=True)
class Case:
    """What shows a finding again."""

    target: str
    seed: int
    inputs: Sequence[Input]

    def save(self, path: Path, finding: str) -> None:
        """Write the case, with what it shows for people."""
        inputs = [[each.way, each.data.hex(), each.choice] for each in self.inputs]
        text = {
            "target": self.target,
            "seed": self.seed,
            "finding": finding,
            "inputs": inputs,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(text, indent=0))

    @classmethod
    def load(cls, path: Path) -> "Case":
        """Return the case in a file."""
        text: dict[str, Any] = json.loads(path.read_text())
        inputs = [
            Input(way, bytes.fromhex(data), choice)
            for way, data, choice in text["inputs"]
        ]
        return cls(text["target"], text["seed"], inputs)
