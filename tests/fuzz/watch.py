"""What an input did: what it logged, cost and left behind."""

import gc
import logging
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Self

_NOT_OWNED = (type, ModuleType, CodeType, FunctionType, logging.Logger)
"""What machines refer to and do not own."""


class LogWatch(logging.Handler):
    """Collects records above DEBUG, of everything in the process."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[str] = []
        self.count = 0

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = root.level
        root.setLevel(logging.INFO)
        root.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._before)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        if len(self.records) < 20:
            text = f"{record.levelname} {record.name}: {record.getMessage()}"
            if record.exc_info and record.exc_info[1] is not None:
                text += f" {record.exc_info[1]!r} at {place(record.exc_info[2])}"
            self.records.append(text)

    def take(self) -> list[str]:
        """Return the records since the last call."""
        records, self.records = self.records, []
        return records


class Stopwatch:
    """Processor time of this process."""

    def __init__(self) -> None:
        self._began = time.process_time()

    def read(self) -> float:
        """Return seconds since it was made."""
        return time.process_time() - self._began


@dataclass(frozen=True, slots=True)
class Size:
    """What things hold."""

    objects: int
    size: int
    """In bytes."""


def size_of(roots: Iterable[object]) -> Size:
    """Return how much hangs on some objects, without what belongs to the tests."""
    seen: set[int] = set()
    waiting = deque(roots)
    size = 0
    while waiting:
        thing = waiting.popleft()
        if id(thing) in seen or isinstance(thing, _NOT_OWNED) or _is_ours(thing):
            continue
        seen.add(id(thing))
        size += sys.getsizeof(thing, 0)
        waiting += gc.get_referents(thing)
    return Size(len(seen), size)


def _is_ours(thing: object) -> bool:
    """Tell whether a thing belongs to the world around a machine."""
    if isinstance(thing, MethodType):
        thing = thing.__self__
    return type(thing).__module__.startswith("tests.")


def place(traceback: TracebackType | None) -> str:
    """Return the file and line where an exception arose."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "?"
    code = traceback.tb_frame.f_code
    return f"{code.co_filename.rpartition('meshwg/')[2]}:{traceback.tb_lineno}"
