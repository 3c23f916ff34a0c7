"""``meshwg-wg``: the bare engine, a drop-in for wireguard-go.

It is started often, by programs that wait for it: only what it needs is imported, and
the command line is too small for a parser.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwg import __version__
from meshwg.errors import ConfigError, MeshError

USAGE = """\
Usage: meshwg-wg [-f | --foreground] INTERFACE

Create the network interface INTERFACE and run WireGuard on it, in the background
once wg(8) can configure it. It exits on SIGTERM or SIGINT, and when INTERFACE or
/var/run/wireguard/INTERFACE.sock is removed.

  -f, --foreground   stay in the foreground
  -V, --version      show the version and exit
  -h, --help         show this and exit

Environment:
  LOG_LEVEL=verbose|error|silent   what is logged to standard error (error);
                                   in the background only if this is set
  WG_PROCESS_FOREGROUND=1          the same as --foreground
  MESHWG_DATAPATH=core|python      what carries packets: the compiled core, which is
                                   the default where it is installed, or Python
  WG_TUN_FD, WG_UAPI_FD            descriptors of a TUN device and of a listening
                                   socket to use instead of creating them
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line and the environment say."""

    name: str
    foreground: bool = False
    log_level: str = ""
    """``verbose``, ``error``, ``silent``, or empty for the default."""
    tun_descriptor: int | None = None
    uapi_descriptor: int | None = None


def main() -> None:
    """Run the program: the console script."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the command line asks for and return the exit status."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(USAGE)
        return 0
    if {"-V", "--version"} & set(arguments):
        return show_version()
    try:
        options = parse(arguments, environment)
        start(options)
    except MeshError as error:
        sys.stderr.write(f"meshwg-wg: {error}\n")
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    return 0


def show_version() -> int:
    """Write the version, and which data path carries; return the exit status."""
    from meshwg.runtime.core import chosen

    try:
        carries = f"data path: {chosen()}"
    except MeshError as error:
        sys.stderr.write(f"meshwg-wg: {error}\n")
        return error.exit_status
    sys.stdout.write(f"meshwg-wg {__version__} ({carries})\n")
    return 0


def start(options: Options) -> None:
    """Run the interface: in the foreground to its end, else until it is usable.

    :raises MeshError: if it cannot be made; then nothing is left of it.
    """
    # Imported here, so that help and usage errors come at once.
    from meshwg.runtime import wg

    wg.start(
        options.name,
        foreground=options.foreground,
        log_level=options.log_level,
        tun_descriptor=options.tun_descriptor,
        uapi_descriptor=options.uapi_descriptor,
    )


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Return what the command line and the environment say.

    :raises ConfigError: if something in them is wrong.
    """
    flags = [argument for argument in arguments if argument.startswith("-")]
    names = [argument for argument in arguments if not argument.startswith("-")]
    for flag in flags:
        if flag not in ("-f", "--foreground"):
            raise ConfigError(f"The option {flag} is unknown: see meshwg-wg --help")
    if len(names) != 1:
        raise ConfigError(
            "One interface name is needed: meshwg-wg [-f | --foreground] INTERFACE"
        )
    return Options(
        name=names[0],
        foreground=bool(flags) or environment.get("WG_PROCESS_FOREGROUND") == "1",
        log_level=environment.get("LOG_LEVEL", ""),
        tun_descriptor=_descriptor(environment, "WG_TUN_FD"),
        uapi_descriptor=_descriptor(environment, "WG_UAPI_FD"),
    )


def _descriptor(environment: Mapping[str, str], variable: str) -> int | None:
    text = environment.get(variable, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise ConfigError(f"{variable} must be the number of an open descriptor")
    return int(text)


if __name__ == "__main__":
    main()
