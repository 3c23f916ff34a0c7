"""Network namespaces: the only module that makes, enters or removes one.

On Linux a thread can be in other namespaces than its process. A namespace is entered in
a new thread that ends with the call, so nothing has to be restored, and a process that
is started there inherits the namespaces of the thread. Sockets made there stay in the
namespace and can be used from any thread.

Each machine of a lab also has its own ``/run``, because paths such as
``/run/wireguard/wg0.sock`` would otherwise collide between hosts.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from netlab.errors import LabError

T = TypeVar("T")

NAMESPACES = Path("/run/netns")

# <sched.h> and <sys/mount.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """One named network namespace, known to ``ip netns`` under the same name."""

    name: str
    run_directory: Path
    """The directory that is ``/run`` for its processes."""

    @classmethod
    def create(cls, name: str, run_directory: Path) -> "Namespace":
        """Make the namespace; its loopback is still down."""
        run_directory.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            ["ip", "netns", "add", name], capture_output=True, text=True
        )
        if made.returncode != 0:
            raise LabError(f"Cannot make a namespace: {made.stderr.strip()}.")
        return cls(name, run_directory)

    @classmethod
    def adopt(cls, name: str, run_directory: Path, source: Path) -> "Namespace":
        """Give a namespace that another program made, such as a pod's, a name here.

        :param source: a file that stands for it, such as ``/proc/PID/ns/net``.
        """
        run_directory.mkdir(parents=True, exist_ok=True)
        NAMESPACES.mkdir(parents=True, exist_ok=True)
        (NAMESPACES / name).touch()
        _mount(str(source), str(NAMESPACES / name), flags=MS_BIND)
        return cls(name, run_directory)

    @property
    def etc_directory(self) -> Path:
        """The directory that is ``/etc`` for its processes, if it is there."""
        return self.run_directory.parent / "etc"

    @property
    def path(self) -> Path:
        return NAMESPACES / self.name

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns, or raise what it raises, in the namespace.

        It runs in a thread of this process, so it shares memory with the caller.
        """
        outcome: Future[T] = Future()

        def enter_and_run() -> None:
            try:
                self._enter()
                outcome.set_result(function())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=enter_and_run, name=self.name, daemon=True).start()
        return outcome.result()

    def become(self, arguments: list[str]) -> NoReturn:
        """Replace this process by a program that runs in the namespace."""
        self._enter()
        os.execvp(arguments[0], arguments)

    def set_sysctl(self, settings: dict[str, int]) -> None:
        """Write kernel settings such as ``net.ipv4.ip_forward``.

        Settings that this kernel does not have are skipped.
        """

        def write() -> None:
            for key, value in settings.items():
                path = Path("/proc/sys", *key.split("."))
                with contextlib.suppress(FileNotFoundError):
                    path.write_text(str(value))

        self.call(write)

    def _enter(self) -> None:
        """Move the calling thread, and only it, into the namespace."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.setns(descriptor, CLONE_NEWNET), "setns")
        finally:
            os.close(descriptor)
        _checked(_libc.unshare(CLONE_NEWNS), "unshare")
        _mount("none", "/", flags=MS_REC | MS_PRIVATE)
        _mount(str(self.run_directory), "/run", flags=MS_BIND)
        if self.etc_directory.exists():
            _mount(str(self.etc_directory), "/etc", flags=MS_BIND)
        # /sys/class/net shows the network of the process that mounted it.
        _mount("sysfs", "/sys", kind="sysfs")


def check_free(name: str) -> None:
    """Raise a ``LabError`` if there is a namespace of that name."""
    if (NAMESPACES / name).exists():
        raise LabError(
            f"Somebody else's network namespace is named {name}: "
            "choose another prefix, or remove it with 'ip netns delete'."
        )


def pids_inside(names: list[str]) -> list[int]:
    """Return the processes in any of these namespaces, except this one."""
    wanted = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            wanted.add(_identity(NAMESPACES / name))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if _identity(entry / "ns" / "net") in wanted:
                found.append(int(entry.name))
    return found


def delete(name: str) -> None:
    """Remove a namespace, and with it all links to others."""
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _mount(source: str, target: str, *, kind: str = "none", flags: int = 0) -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None
    )
    _checked(result, f"mount {target}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
