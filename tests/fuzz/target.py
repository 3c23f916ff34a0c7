"""What all targets have in common."""

from abc import ABC, abstractmethod
from collections import deque
from random import Random

from tests.fuzz.inputs import Input

MEMORY = 400
"""Messages that a target remembers to build others from."""


class Target(ABC):
    """Something to attack: a whole machine in virtual time, from a seed.

    :cvar inputs: of one episode.
    :cvar most_seconds: of processor time that one input may cost.
    :cvar most_objects: by which half an episode may make it grow, for all that it may
        remember of those who speak to it.
    :cvar most_bytes: the same.
    :cvar waits: the ways by which time passes, in which much may happen.
    :cvar is_live: whether it has real sockets, and may do something else next time.
    """

    name: str
    inputs = 300
    most_seconds = 0.5
    most_objects = 6000
    most_bytes = 2_000_000
    is_live = False
    waits = frozenset({"time", "reorder"})

    def __init__(self, seed: int) -> None:
        self.overheard: deque[bytes] = deque(maxlen=MEMORY)
        """Real messages, from which others are made."""

    @abstractmethod
    def draw(self, random: Random) -> Input:
        """Return an input to try next."""

    @abstractmethod
    def apply(self, step: Input) -> None:
        """Hand an input to the machine."""

    @abstractmethod
    def roots(self) -> list[object]:
        """Return the machines, for what they hold."""

    @abstractmethod
    def failure(self) -> str | None:
        """Let things calm down; return what does not work any more."""

    @property
    def is_over(self) -> bool:
        """Whether the episode has ended, because the machine was rightly stopped."""
        return False

    def close(self) -> None:
        """Give back what the target holds."""
        self.overheard.clear()

    def pick(self, random: Random, least: int = 0) -> bytes:
        """Return a real message, of some length or more."""
        fitting = [each for each in self.overheard if len(each) >= least]
        return random.choice(fitting) if fitting else b""
