"""Episodes one after the other, what they find, and what shows it again."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.inputs import Case, Input
from tests.fuzz.target import Target
from tests.fuzz.watch import LogWatch, Size, Stopwatch, place, size_of

TAILS = (1, 3, 10, 30, 100)
"""How many of the last inputs are tried alone, to make a finding's case short."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    text: str
    case: Case

    @property
    def kind(self) -> str:
        """What it is, without numbers that differ from time to time."""
        return re.sub(r"[0-9]+", "", self.text.partition(" (")[0].partition("\n")[0])


class Episode:
    """One target, its inputs, and what they did."""

    def __init__(self, kind: type[Target], seed: int) -> None:
        self._kind, self._seed = kind, seed
        self.inputs: list[Input] = []
        self._half: Size | None = None

    def run(self, steps: Sequence[Input] | None = None) -> str | None:
        """Return what is found, if anything is.

        :param steps: what to hand over, ``None`` to draw it.
        """
        with LogWatch() as log:
            target = self._kind(self._seed)
            try:
                log.take()
                return self._attack(target, log, steps) or self._end(target, log)
            finally:
                target.close()

    def _attack(
        self, target: Target, log: LogWatch, steps: Sequence[Input] | None
    ) -> str | None:
        random = Random(f"{self._kind.name} {self._seed}")
        count = target.inputs if steps is None else len(steps)
        for number in range(count):
            if target.is_over:
                return None
            step = target.draw(random) if steps is None else steps[number]
            self.inputs.append(step)
            if found := self._try(target, log, step):
                return found
            if number == count // 2:
                self._half = size_of(target.roots())
        return None

    def _try(self, target: Target, log: LogWatch, step: Input) -> str | None:
        watch = Stopwatch()
        try:
            target.apply(step)
        except Exception as error:
            return _explain(step.way, error)
        seconds = watch.read()
        if records := log.take():
            return f"{step.way} logs {records[0]}"
        if step.way not in target.waits and seconds > target.most_seconds:
            return f"{step.way} costs too much time ({seconds:.2f} s)"
        return None

    def _end(self, target: Target, log: LogWatch) -> str | None:
        grown = None
        if self._half is not None and not target.is_over:
            grown = _growth(self._half, size_of(target.roots()), target)
        try:
            failure = target.failure()
        except Exception as error:
            return _explain("what follows", error)
        if records := log.take():
            return f"what follows logs {records[0]}"
        return failure or grown


class Campaign:
    """Episodes of several targets in turn, until the time is over.

    :param directory: where cases are saved, ``None`` for nowhere.
    """

    def __init__(
        self, kinds: Sequence[type[Target]], seed: int, directory: Path | None = None
    ) -> None:
        self.findings: list[Finding] = []
        self.inputs = 0
        self.episodes = 0
        self._kinds, self._seed, self._directory = kinds, seed, directory

    def run(self, seconds: float) -> None:
        """Run episodes for so many seconds, each target at least once."""
        end = time.monotonic() + seconds
        while self.episodes < len(self._kinds) or time.monotonic() < end:
            kind = self._kinds[self.episodes % len(self._kinds)]
            self._run_one(kind, self._seed * 1_000_000 + self.episodes)
            self.episodes += 1

    def _run_one(self, kind: type[Target], seed: int) -> None:
        episode = Episode(kind, seed)
        text = episode.run()
        self.inputs += len(episode.inputs)
        if text is None:
            return
        found = Finding(text, Case(kind.name, seed, tuple(episode.inputs)))
        if any(found.kind == each.kind for each in self.findings):
            return
        again = self._shortest(kind, found)
        if again is None:
            return
        self.findings.append(again)
        if self._directory is not None:
            name = f"{kind.name}-{seed}.json"
            again.case.save(self._directory / name, again.text)

    def _shortest(self, kind: type[Target], found: Finding) -> Finding | None:
        """Return a finding with as few inputs as show it; ``None`` if nothing does.

        A processor that was busy elsewhere shows nothing twice.
        """
        inputs = found.case.inputs
        tails = [inputs[-count:] for count in TAILS if count < len(inputs)]
        for tail in (*tails, inputs):
            case = Case(kind.name, found.case.seed, tuple(tail))
            text = replay(kind, case)
            if text is not None and Finding(text, case).kind == found.kind:
                return Finding(text, case)
        return found if kind.is_live else None


def replay(kind: type[Target], case: Case) -> str | None:
    """Return what a case shows."""
    return Episode(kind, case.seed).run(case.inputs)


def _growth(half: Size, whole: Size, target: Target) -> str | None:
    objects, size = whole.objects - half.objects, whole.size - half.size
    if objects > target.most_objects or size > target.most_bytes:
        return f"It grows ({objects} objects, {size} bytes in half an episode)"
    return None


def _explain(way: str, error: Exception) -> str:
    return f"{way}: {type(error).__name__} at {place(error.__traceback__)} ({error})"
