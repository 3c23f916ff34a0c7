"""Going into the background, while the caller waits to learn how it went.

The process forks before it has an event loop or threads. The parent stays until the
child says that it is ready, or why it could not start, so that a shell script sees one
sentence and an exit status as if there had been no fork.
"""

import os
import sys
from dataclasses import dataclass

from meshwg.errors import MeshError

_READY = b"\n"


class StartFailed(MeshError):
    """The process in the background could not start."""

    def __init__(self, cause: str, exit_status: int = 1) -> None:
        super().__init__(cause)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True)
class Parent:
    """The process that waits, seen from the one in the background."""

    _pipe: int

    def ready(self) -> None:
        """Let the parent return with success."""
        self._say(_READY)

    def failed(self, error: MeshError) -> None:
        """Let the parent report an error."""
        self._say(f"{error.exit_status} {error}".encode())

    def _say(self, message: bytes) -> None:
        try:
            os.write(self._pipe, message)
        except BrokenPipeError:
            # It was killed while it waited; the work goes on without it.
            pass
        finally:
            os.close(self._pipe)


def fork(*, keep_output: bool) -> Parent | None:
    """Go on in a new process, in a session of its own.

    :param keep_output: keep writing to the parent's standard output and error.
    :return: in the new process its parent; in the parent ``None``, once the new
        process is ready.
    :raises StartFailed: in the parent, with what the new process says.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writing)
        _wait(reading)
        return None
    os.close(reading)
    os.setsid()
    os.chdir("/")
    _redirect(range(1 if keep_output else 3))
    return Parent(writing)


def _redirect(descriptors: range) -> None:
    """Connect these standard streams to /dev/null."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _wait(pipe: int) -> None:
    with open(pipe, "rb") as reader:
        message = reader.read()
    if message == _READY:
        return
    status, _, cause = message.decode(errors="replace").partition(" ")
    if not status.isdigit():
        raise StartFailed(
            "The background process ended without a message: "
            "run it in the foreground to see why"
        )
    raise StartFailed(cause, int(status))
