"""The programs that a cluster consists of: Kubernetes and etcd, built from source.

They come from the Go module proxy, pinned by ``go.mod`` and ``go.sum``, and take a
quarter of an hour of one core. So they stay outside the checkout, in
``~/.cache/meshwg-kubernetes``, once for each state of their sources and each version of
Go. What runs containers is Debian's, unpacked beside the virtual environment.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from netlab.errors import GoMissing, LabError

SOURCES = Path(__file__).parents[2] / "kubernetes"
MODULES = ("etcd", "kube")
"""Go modules below SOURCES, each with one program of its name."""
DEBIAN = Path(sys.prefix) / "debian"
"""Where ``unpack-packages.sh`` puts Debian's packages."""
PACKAGES = (
    *("containerd", "runc", "containernetworking-plugins", "busybox-static", "tini"),
    *("conntrack", "libnetfilter-conntrack3", "libnfnetlink0", "libseccomp2"),
    *("iptables", "libip4tc2", "libip6tc2", "libxtables12"),
)
"""What is on every node of a cluster, from Debian."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are."""

    kube: Path
    """All programs of Kubernetes in one."""
    etcd: Path
    packages: tuple[Path, ...]
    """The trees of Debian's packages."""

    @property
    def busybox(self) -> Path:
        return DEBIAN / "busybox-static" / "usr" / "bin" / "busybox"


def find() -> Programs:
    """Return the programs.

    :raises LabError: if there is one missing; the text says which, and what to do.
    """
    packages = tuple(DEBIAN / name for name in PACKAGES)
    for package in packages:
        if not package.is_dir():
            raise LabError(
                f"Debian's package {package.name} is not unpacked: "
                "'make test-kubernetes' does that, as root."
            )
    directory = _directory(_go_version())
    programs = Programs(directory / "kube", directory / "etcd", packages)
    if not directory.is_dir():
        raise LabError(
            "Kubernetes is not built: 'make test-kubernetes' does that, in a quarter "
            "of an hour."
        )
    return programs


def build() -> Path:
    """Build what is not built yet, and return the directory it is in.

    :raises GoMissing: if there is no Go, or one that is too old.
    :raises LabError: if a build fails.
    """
    directory = _directory(_go_version())
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".building-"))
    try:
        for module in MODULES:
            _build(module, draft)
        draft.chmod(0o755)
        if not directory.is_dir():
            draft.rename(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return directory


def is_built() -> bool:
    """Tell whether there is nothing to build.

    :raises GoMissing: if there is no Go, or one that is too old.
    """
    return _directory(_go_version()).is_dir()


def version() -> str:
    """Return which version of Kubernetes is pinned, such as ``v1.37.2``."""
    return _pinned(r"k8s\.io/kubernetes (v\S+)")


def _build(module: str, directory: Path) -> None:
    # Without symbols they are a third smaller. The version is what nodes report.
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={version()}"
    command = ["go", "build", "-trimpath", "-ldflags", flags]
    done = subprocess.run(
        [*command, "-o", str(directory / module), "."],
        cwd=SOURCES / module,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-20:])
        raise LabError(f"Go could not build {module}:\n{last}")


def _go_version() -> str:
    """Return the version of Go, such as ``go1.26.8``."""
    needed = _pinned(r"(?m)^go (\S+)")
    try:
        asked = ["go", "env", "GOVERSION"]
        found = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        found = "none"
    if _numbers(found) < _numbers(needed):
        raise GoMissing(f"Kubernetes needs Go {needed} or newer, here is {found}.")
    return found


def _directory(go: str) -> Path:
    """Return where the programs of these sources are, or will be."""
    digest = hashlib.sha256(go.encode())
    for module in MODULES:
        for name in ("go.mod", "go.sum", "main.go"):
            digest.update((SOURCES / module / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "meshwg-kubernetes" / digest.hexdigest()[:16]


def _pinned(pattern: str) -> str:
    found = re.search(pattern, (SOURCES / "kube" / "go.mod").read_text())
    if found is None:
        raise LabError(f"There is no {pattern!r} in {SOURCES / 'kube' / 'go.mod'}.")
    return found.group(1)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
