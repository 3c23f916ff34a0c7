"""A machine with Debian's systemd as its first process, in namespaces of its own.

It sees this machine's files, but ``/etc`` through an overlay, a ``/var/lib`` and a
``/opt`` of its own, which outlast its boots, and a fresh ``/run``. It is alone in its
network. Whatever it does ends with its first process.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SYSTEMD = Path("/lib/systemd/systemd")
SOURCE = Path(__file__).parents[2]
UNPACKED = SOURCE / ".venv" / "debian"
"""Packages that 'make system' unpacks and does not install."""
ADDRESS = "192.0.2.1"
"""The machine's, on a network that nobody else is in."""
PATIENCE = 60.0
"""Seconds for what a busy machine may take long to do."""

MASKED = (
    *("systemd-udevd", "systemd-udev-trigger", "systemd-update-done", "ldconfig"),
    *("systemd-tmpfiles-setup", "systemd-tmpfiles-setup-dev", "systemd-sysusers"),
    *("systemd-timesyncd", "systemd-update-utmp", "systemd-random-seed"),
    *("systemd-sysctl", "systemd-modules-load", "kmod-static-nodes"),
    *("systemd-remount-fs", "systemd-binfmt", "systemd-journal-catalog-update"),
    *("systemd-hwdb-update", "systemd-firstboot", "systemd-machine-id-commit"),
)
"""Services that would touch the machine that this one is on."""

_NAMESPACES = (
    *("--pid", "--mount", "--net", "--ipc", "--uts"),
    *("--fork", "--kill-child"),
)
GROUPS = """
mount --make-rprivate /
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/{name}
"""
_BOOT = """set -e
{groups}
mkdir -p $group
echo $$ >$group/cgroup.procs
exec unshare --cgroup sh -c '
    set -e
    umount /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    {usr}
    mount -t overlay overlay /etc \\
        -o lowerdir={lower_etc},upperdir={directory}/etc,workdir={directory}/work
    mount --bind {directory}/lib /var/lib
    mount --bind {directory}/opt /opt
    mount --bind {source} /opt/meshwg/source
    mount --bind {packages} /opt/meshwg/packages
    for each in /run /var/log /var/tmp; do mount -t tmpfs -o mode=755 tmpfs $each; done
    mount -t proc proc /proc
    ip link set lo up
    ip link add uplink type bridge
    ip address add {address}/24 dev uplink
    ip link set uplink up
    exec env -i container=meshwg-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
        {systemd} --system --unit=meshwg-test.target --show-status=0
'
"""
_PROGRAM = """#!/bin/sh
PYTHONPATH=/opt/meshwg/source:/opt/meshwg/packages PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE
exec {python} -m {module} "$@"
"""


class BootedMachine:
    """A machine that can be booted, and switched off.

    :ivar target: the unit that is active once it is up.
    :param directory: what it keeps between two boots.
    """

    target = "meshwg-test.target"

    def __init__(self, directory: Path) -> None:
        if not SYSTEMD.exists():
            pytest.skip("needs systemd: install Debian's packages 'systemd' and 'dbus'")
        self.directory = directory
        self._name = f"meshwg-test-{os.getpid()}-{directory.name}"
        self._launcher: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Switch it on, and wait until it is up."""
        with (self.directory / "console").open("ab") as console:
            self._launcher = subprocess.Popen(
                ["unshare", *_NAMESPACES, "sh", "-c", self._boot_script()],
                stdout=console,
                stderr=console,
            )
        self.wait_until(
            lambda: self.run(f"systemctl is-active {self.target}").returncode == 0,
            "systemd is up",
        )

    def _boot_script(self) -> str:
        """Return what the shell does that becomes its first process."""
        raise NotImplementedError

    def cut_power(self) -> None:
        """Switch it off at once."""
        assert self._launcher is not None
        for child in self._children():
            os.kill(child, signal.SIGKILL)
        self._launcher.wait()
        self._launcher = None

    def reboot(self) -> None:
        """Have it end what runs in good order, and boot again."""
        assert self._launcher is not None
        self.run("systemctl reboot")
        self._launcher.wait(PATIENCE)
        self._launcher = None
        self.boot()

    def close(self) -> None:
        """Switch it off, and remove what it left on the machine that it was on."""
        if self._launcher is not None:
            self.cut_power()
        clean = f"{GROUPS.format(name=self._name)}\nfind $group -depth -type d -delete"
        subprocess.run(["unshare", "--mount", "sh", "-c", clean], check=False)

    def run(self, command: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command in it, as root."""
        first = next(iter(self._children()), 0)
        inside = ["nsenter", "--target", str(first), "--all"]
        path = "/opt/meshwg/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            [*inside, "env", "-i", f"PATH={path}", *shlex.split(command)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show --value -p {name} {unit}").stdout.strip()

    def log(self, unit: str) -> str:
        """Return what a unit has logged since the machine was booted."""
        return self.run(f"journalctl --no-pager -o cat -u {unit}").stdout

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
            time.sleep(0.1)

    def _children(self) -> list[int]:
        assert self._launcher is not None
        number = self._launcher.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text()
        return [int(each) for each in children.split()]


class Machine(BootedMachine):
    """A machine with this one's files, and the programs under test.

    :param directory: what it keeps between two boots.
    :param packages: Debian's, unpacked, that it has installed beside this machine's.
    """

    def __init__(self, directory: Path, packages: Sequence[str] = ()) -> None:
        super().__init__(directory)
        for name in packages:
            if not (UNPACKED / name).is_dir():
                pytest.skip(f"needs Debian's package '{name}': see 'make system'")
        self._packages = packages
        for name in ("etc", "work", "lib", "opt/meshwg/bin"):
            (directory / name).mkdir(parents=True)
        for name in ("source", "packages"):
            (directory / "opt/meshwg" / name).mkdir()
        for name, module in (
            ("meshwg", "meshwg"),
            ("meshwg-coordinator", "coordinator"),
        ):
            self.install(name, module)
        units = self.file("/etc/systemd/system/meshwg-test.target").parent
        for name in MASKED:
            (units / f"{name}.service").symlink_to("/dev/null")
        (units / "meshwg-test.target").write_text(
            "[Unit]\nRequires=basic.target\nWants=multi-user.target.wants dbus.socket\n"
        )

    def install(self, name: str, module: str) -> None:
        """Install a program, in place of an older one."""
        program = self.directory / "opt/meshwg/bin" / name
        python = Path(sys.executable).resolve()
        program.write_text(_PROGRAM.format(python=python, module=module))
        program.chmod(0o755)

    def file(self, path: str) -> Path:
        """Return the place of a file below ``/etc`` or ``/var/lib``."""
        place = self.directory / path.removeprefix("/var").lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def add_unit(self, name: str, *drop_in: str) -> None:
        """Install a unit of this project, with more lines for its service."""
        units = self.file("/etc/systemd/system/meshwg-test.target").parent
        shutil.copy(SOURCE / "systemd" / name, units / name)
        if drop_in:
            lines = self.file(f"/etc/systemd/system/{name}.d/test.conf")
            lines.write_text("\n".join(("[Service]", *drop_in, "")))

    def _boot_script(self) -> str:
        # A layer that comes earlier is above.
        trees = [UNPACKED / name for name in self._packages]
        etc = [str(tree / "etc") for tree in trees if (tree / "etc").is_dir()]
        usr = ":".join([*(str(tree / "usr") for tree in trees), "/usr"])
        return _BOOT.format(
            usr=f"mount -t overlay overlay /usr -o lowerdir={usr}" if trees else "",
            lower_etc=":".join([*etc, "/etc"]),
            groups=GROUPS.format(name=self._name),
            directory=self.directory,
            source=SOURCE,
            packages=sysconfig.get_path("purelib"),
            systemd=SYSTEMD,
            address=ADDRESS,
        )
