"""Scenarios: a situation is built in a lab, and what it should show is verified."""

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
    """One step of a scenario, reported twice: when it begins and when it ends."""

    sentence: str
    """What is done, or what is true when it succeeds."""
    seconds: float | None = None
    """How long it took; ``None`` while it runs."""
    error: Exception | None = None


class Narrator:
    """Reports the steps of a scenario to a listener."""

    def __init__(self, listener: Callable[[Step], None]) -> None:
        self._listener = listener

    @contextlib.contextmanager
    def step(self, sentence: str) -> Iterator[None]:
        """Report a step: the block does what the sentence says."""
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
    """A situation of a user, and what the user gets."""

    name: str
    title: str
    build: Callable[[Lab], World]
    """Makes the networks and starts the programs."""
    verify: Callable[[World, Narrator], None]
    """Raises an error if something is not as expected."""
    ways: tuple[Way, ...] = ()
    """The paths between its hosts, for the drawing."""

    @property
    def story(self) -> str:
        """The docstring of its module."""
        return (sys.modules[self.build.__module__].__doc__ or "").strip()

    def run(
        self,
        lab: Lab,
        listener: Callable[[Step], None],
        on_built: Callable[[Topology], None] = lambda topology: None,
    ) -> None:
        """Build it and verify it.

        :param on_built: called with the topology before anything changes.
        """
        narrator = Narrator(listener)
        with narrator.step("networks and programs are up"):
            world = self.build(lab)
        on_built(survey(lab, self.ways))
        self.verify(world, narrator)
