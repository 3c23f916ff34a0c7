"""Scenarios: something that is built in a lab and then held against its promise."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from netlab.lab import Lab
from netlab.topology import Topology, Way, survey

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
    ways: tuple[Way, ...] = ()
    """What runs between its hosts, for the drawing."""

    @property
    def story(self) -> str:
        """What its module says about it."""
        return (sys.modules[self.build.__module__].__doc__ or "").strip()

    def run(
        self,
        lab: Lab,
        listener: Callable[[Step], None],
        on_built: Callable[[Topology], None] = lambda topology: None,
    ) -> None:
        """Build it and verify it.

        :param on_built: told what it looks like before anything moves.
        """
        narrator = Narrator(listener)
        with narrator.step("networks and programs are up"):
            world = self.build(lab)
        on_built(survey(lab, self.ways))
        self.verify(world, narrator)
