"""What a lab needs of the machine; checked before anything is made."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from netlab.errors import CommandFailed, LabError
from netlab.lab import Lab
from netlab.presets import FULL_CONE

PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "wg": "wireguard-tools",
    "turnserver": "coturn",
    "miniupnpd": "miniupnpd-nftables",
}
"""Programs that a lab runs, and the Debian package of each."""
TUN = Path("/dev/net/tun")


def check(programs: Mapping[str, str] = PROGRAMS, tun: Path = TUN) -> None:
    """Raise a ``LabError`` that names what is missing first, and how to get it."""
    _check_root()
    _check_programs(programs)
    _check_tun(tun)
    _check_nat()


def _check_root() -> None:
    if os.geteuid() != 0:
        raise LabError("The lab makes network namespaces: run it as root.")


def _check_programs(programs: Mapping[str, str]) -> None:
    packages = sorted(
        {package for name, package in programs.items() if shutil.which(name) is None}
    )
    if packages:
        raise LabError(
            f"Not installed: {', '.join(packages)}. 'make system' installs "
            "what is missing; for that, Debian's packages must be reachable."
        )


def _check_tun(tun: Path) -> None:
    try:
        os.close(os.open(tun, os.O_RDWR))
    except OSError as error:
        raise LabError(
            f"WireGuard in user space needs {tun} ({error.strerror}): load the "
            "kernel module with 'modprobe tun', or give the container the device."
        ) from None


def _check_nat() -> None:
    """Build one of the routers that need most of the kernel."""
    refusal = ""
    with Lab(title="checking this kernel") as lab:
        try:
            lab.add_router("probe", FULL_CONE)
        except CommandFailed as error:
            refusal = str(error).splitlines()[-1].strip()
    if refusal:
        raise LabError(
            "This kernel cannot do NAT with nftables, which all routers of the lab "
            f"use ({refusal}): it needs nf_tables, nft_nat and nft_masq."
        )
