"""Scenarios: something that is built in a lab and then held against its promise."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from netlab.lab import Lab

World = TypeVar("World")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a scenario, told twice: as it begins and as it ends."""

    sentence: str
    """What is done, or what is true if it succeeds."""
    seconds: float | None = None
    """How long it took; ``None`` while it runs."""
    error: Exception | None = None


class Narrator:
    """Tells the steps of a scenario to whoever listens."""

    def __init__(self, listener: Callable[[Step], None]) -> None:
        self._listener = listener

    @contextlib.contextmanager
    def step(self, sentence: str) -> Iterator[None]:
        """Do what the sentence says inside the block."""
        started = time.monotonic()
        self._listener(Step(sentence))
        try:
            yield
        except Exception as error:
            self._listener(Step(sentence, time.monotonic() - started, error))
            raise
        self._listener(Step(sentence, time.monotonic() - started))


@dataclass(frozen=True, slots=True)
class Scenario(Generic[World]):
    """A situation that users are in, and what they get."""

    name: str
    title: str
    build: Callable[[Lab], World]
    """Makes the networks and starts the programs."""
    verify: Callable[[World, Narrator], None]
    """Raises if something is not as it should be."""

    def run(self, lab: Lab, listener: Callable[[Step], None]) -> None:
        """Build it and verify it."""
        narrator = Narrator(listener)
        with narrator.step("networks and programs are up"):
            world = self.build(lab)
        self.verify(world, narrator)
