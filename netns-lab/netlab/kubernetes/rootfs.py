"""What is in the images of a cluster: busybox, or Python with meshwg in it."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

from netlab.errors import LabError
from netlab.kubernetes.image import Layer, write_image

BOX = "localhost/meshwg/box:1"
"""A shell and the small programs of busybox; it is also what holds a pod together."""
DNS = "localhost/meshwg/dnsmasq:1"
"""A name server, since the usual one is half as large to build as all of Kubernetes."""
MESHWG = "localhost/meshwg/meshwg:test"
"""The node and the agent, from this checkout."""
FOREVER = ("/bin/sleep", "2147483647")

CHECKOUT = Path(__file__).parents[3]
LIBRARIES = "/opt/meshwg"
"""Where the Python packages are in the image."""
EXTRAS = frozenset({"kubernetes"})
TOOLS = ("nft", "ip")
"""What a node runs beside Python."""
UNUSED = (
    *("dist-packages", "site-packages", "test", "tests", "unittest", "pydoc_data"),
    *("distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo"),
)
"""Parts of Python that are of no use, or are not the standard library's."""


def write_box(directory: Path, busybox: Path) -> Path:
    """Write the image of busybox, and return its archive."""
    asked = [str(busybox), "--list"]
    names = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    with Layer(directory / "box-layer.tar") as layer:
        _add_base(layer, busybox, names.split())
    image = directory / "box.tar"
    write_image(image, BOX, layer.path, FOREVER, {"PATH": "/bin"})
    return image


def write_dns(directory: Path, busybox: Path) -> Path:
    """Write the image of a name server, and return its archive."""
    with Layer(directory / "dns-layer.tar") as layer:
        _add_base(layer, busybox, ("sh",))
        _add_program(layer, _installed("dnsmasq"), "/usr/sbin/dnsmasq")
    image = directory / "dns.tar"
    write_image(image, DNS, layer.path, ["/usr/sbin/dnsmasq", "-k"], {"PATH": "/bin"})
    return image


def write_meshwg(directory: Path, busybox: Path) -> Path:
    """Write the image of meshwg with this machine's Python, and return its archive."""
    python = Path(sys.executable).resolve()
    with Layer(directory / "meshwg-layer.tar") as layer:
        _add_base(layer, busybox, ("sh", "sleep", "cat", "ls"))
        layer.add_link("/usr/bin/python3", str(python))
        _add_python(layer, python)
        _add_packages(layer)
        for tool in TOOLS:
            _add_program(layer, _installed(tool), f"/usr/sbin/{tool}")
    image = directory / "meshwg.tar"
    environment = {
        "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/bin",
        "PYTHONPATH": LIBRARIES,
        "PYTHONUNBUFFERED": "1",
    }
    write_image(image, MESHWG, layer.path, ["meshwg-k8s", "agent"], environment)
    return image


def _add_base(layer: Layer, busybox: Path, applets: Iterable[str]) -> None:
    for folder in ("bin", "dev", "etc", "proc", "run", "sys", "usr", "var"):
        layer.add_directory(folder)
    layer.add_directory("tmp", 0o1777)
    layer.add_file(busybox, "bin/busybox")
    for applet in applets:
        layer.add_link(f"bin/{applet}", "busybox")
    layer.add_text("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
    layer.add_text("etc/group", "root:x:0:\n")


def _add_python(layer: Layer, python: Path) -> None:
    """Add the interpreter with its standard library, where they are on this machine."""
    _add_program(layer, python, str(python))
    for kind in ("stdlib", "platstdlib"):
        folder = Path(sysconfig.get_path(kind, vars=_base()))
        layer.add_tree(folder, without=(*UNUSED, _for_builds()))
        _add_libraries(layer, folder.rglob("*.so"))


def _for_builds() -> str:
    """Return the name of the directory with what programs are linked with."""
    return Path(sysconfig.get_config_var("LIBPL")).name


def _base() -> dict[str, str]:
    """Return where the Python is that the virtual environment was made from."""
    return {
        "base": sys.base_prefix,
        "platbase": sys.base_exec_prefix,
        "installed_base": sys.base_prefix,
        "installed_platbase": sys.base_exec_prefix,
    }


def _add_packages(layer: Layer) -> None:
    """Add this checkout, and what it depends on as it is in this environment."""
    layer.add_tree(CHECKOUT / "meshwg", f"{LIBRARIES}/meshwg")
    own = importlib.metadata.distribution("meshwg")
    for name, found in _distributions(own).items():
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            # Scripts are outside of the packages, and would start another Python.
            if ".." not in file.parts and path.is_file() and name != "meshwg":
                layer.add_file(path, f"{LIBRARIES}/{file}")
        _add_libraries(layer, _extensions(found))
    for script in own.entry_points.select(group="console_scripts"):
        text = (
            "#!/usr/bin/python3\n"
            f"from {script.module} import {script.attr}\n\n{script.attr}()\n"
        )
        layer.add_text(f"/usr/local/bin/{script.name}", text, 0o755)


def _distributions(
    top: importlib.metadata.Distribution,
) -> dict[str, importlib.metadata.Distribution]:
    """Return what is installed of what a distribution requires, by name."""
    found = {"meshwg": top}
    with_core = [Requirement("meshwg-core")]
    waiting = [*with_core, *_requirements(top, EXTRAS)]
    while waiting:
        wanted = waiting.pop()
        if wanted.name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[wanted.name] = distribution
        waiting += _requirements(distribution, wanted.extras)
    return found


def _requirements(
    distribution: importlib.metadata.Distribution, extras: Iterable[str]
) -> Iterator[Requirement]:
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            yield requirement


def _extensions(distribution: importlib.metadata.Distribution) -> list[Path]:
    return [
        Path(str(distribution.locate_file(file)))
        for file in distribution.files or ()
        if file.suffix == ".so"
    ]


def _installed(tool: str) -> Path:
    found = shutil.which(tool)
    if found is None:
        raise LabError(f"There is no {tool}: 'make system' installs it.")
    return Path(found)


def _add_program(layer: Layer, program: Path, path: str) -> None:
    layer.add_file(program, path)
    _add_libraries(layer, [program])


def _add_libraries(layer: Layer, files: Iterable[Path]) -> None:
    """Add the shared libraries that programs and extensions are linked with."""
    files = list(files)
    if not files:
        return
    # It fails for what is linked with nothing, which needs nothing.
    done = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False)
    for library in sorted(set(re.findall(r"(/\S+) \(0x", done.stdout))):
        # What a package brings along is found beside what needs it.
        if not library.startswith(sys.prefix):
            layer.add_file(Path(library))
