"""A Debian 12 of its own, with its systemd as the first process, in namespaces.

Unlike :class:`tests.interop.machines.Machine` it has no file of this machine's: what a
package leaves on it is seen.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.machines import ADDRESS, GROUPS, MASKED, BootedMachine

ROOT = Path(__file__).parents[2]
PACKAGES = ("dbus", "systemd", "systemd-sysv", "polkitd")
_OWN = {"systemd-tmpfiles-setup", "systemd-sysusers", "systemd-machine-id-commit"}
"""Services that touch nothing but its own files."""

_BOOT = """set -e
{groups}
mkdir -p $group
echo $$ >$group/cgroup.procs
exec unshare --cgroup sh -c '
    set -e
    umount /sys/fs/cgroup
    mount --bind {tree} {tree}
    cd {tree}
    mount -t proc proc proc
    mount --rbind /dev dev
    mount -t sysfs sysfs sys
    mount -t cgroup2 none sys/fs/cgroup
    for each in run tmp; do mount -t tmpfs -o mode=755 tmpfs $each; done
    ip link set lo up
    ip link add uplink type bridge
    ip address add {address}/24 dev uplink
    ip link set uplink up
    pivot_root . mnt
    cd /
    umount -l /mnt
    exec env -i container=meshwg-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
        /lib/systemd/systemd --system --unit=multi-user.target --show-status=0
'
"""


class DebianMachine(BootedMachine):
    """A Debian 12 that is installed in a directory.

    :param directory: for it; ``tree`` below it holds its files.
    """

    target = "multi-user.target"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        if shutil.which("mmdebstrap") is None:
            pytest.skip("needs Debian's package 'mmdebstrap': see 'make packages'")
        self.tree = directory / "tree"
        maker = ROOT / "packaging" / "debian-tree.sh"
        subprocess.run(["sh", str(maker), str(self.tree), *PACKAGES], check=True)
        units = self.tree / "etc/systemd/system"
        for name in (*MASKED, "console-getty", "getty@tty1"):
            if name not in _OWN:
                (units / f"{name}.service").symlink_to("/dev/null")

    def files(self) -> set[str]:
        """Return the paths of all that it keeps, but for what its own programs keep."""
        return {
            str(path.relative_to(self.tree))
            for top in ("etc", "lib", "opt", "usr", "var/lib")
            for path in (self.tree / top).rglob("*")
            if not {"dpkg", "systemd", "__pycache__"} & set(path.parts)
        }

    def take(self, file: Path) -> str:
        """Give it a file, and return where it has it."""
        place = self.tree / "var/tmp" / file.name
        shutil.copy(file, place)
        return f"/var/tmp/{file.name}"

    def _boot_script(self) -> str:
        return _BOOT.format(
            groups=GROUPS.format(name=self._name), tree=self.tree, address=ADDRESS
        )
