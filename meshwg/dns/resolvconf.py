"""The text of ``/etc/resolv.conf`` (resolv.conf(5)), with the mesh's name server in it.

What is added stands below a line that says so, and what is changed above it as it was,
so the text itself says how to undo it. The name servers that were there stay behind the
mesh's: if nobody answers there any more, the machine asks them, as before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

TITLE = "#meshwg: 'meshwg down' and 'meshwg cleanup' put back what was here before."
ADDED = "#meshwg+"
"""The next line is the mesh's."""
WAS = "#meshwg- "
"""Before a line as it was."""
_MARK = "#meshwg"
DEFAULT_SERVER = "127.0.0.1"
"""Who is asked if no server is named (resolv.conf(5))."""
MAX_TEXT = 64 * 1024
"""Letters of a file that is one of these."""


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """What a file says."""

    servers: tuple[str, ...]
    search: tuple[str, ...]
    """Domains in which names without a dot are looked for; empty if it says nothing."""


def read(text: str) -> ResolverSettings:
    """Return what a file says."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for word, values in _words(text):
        if word == "nameserver" and values:
            servers.append(values[0])
        elif word in ("search", "domain"):
            search = tuple(values)
    return ResolverSettings(tuple(servers), search)


def is_ours(text: str) -> bool:
    """Tell whether there is something of the mesh in a text."""
    return any(line.startswith(_MARK) for line in text.splitlines())


def with_server(text: str, server: str, domain: str, host_domain: str) -> str:
    """Return a text in which the mesh's server is the first one.

    :param domain: the mesh's, which is searched after all others.
    :param host_domain: the domain of this machine's name, which is searched if the file
        does not say what is, perhaps empty.
    """
    settings = read(text)
    search = settings.search or ((host_domain,) if host_domain else ())
    search_line = f"search {' '.join((*(s for s in search if s != domain), domain))}"
    lines = [TITLE, ADDED, f"nameserver {server}"]
    if not settings.servers:
        lines += [ADDED, f"nameserver {DEFAULT_SERVER}"]
    for line in text.splitlines():
        word, *values = line.split() or [""]
        if word in ("search", "domain") or line.startswith(_MARK):
            # What another mesh has marked is no mark of this one.
            lines.append(f"{WAS}{line}")
        elif word == "options" and "rotate" in values:
            # Other servers do not know the mesh's names.
            kept = " ".join(each for each in values if each != "rotate")
            lines += [f"{WAS}{line}", ADDED, f"options {kept}"]
        else:
            lines.append(line)
    return "\n".join([*lines, ADDED, search_line, ""])


def without_server(text: str) -> str:
    """Return a text as it was before :func:`with_server`."""
    lines, is_added = [], False
    for line in text.splitlines():
        if is_added:
            is_added = False
        elif line == ADDED:
            is_added = True
        elif line.startswith(WAS):
            lines.append(line.removeprefix(WAS))
        elif line != TITLE:
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _words(text: str) -> Iterator[tuple[str, list[str]]]:
    for line in text.splitlines():
        word, *values = line.split() or [""]
        yield word, values
