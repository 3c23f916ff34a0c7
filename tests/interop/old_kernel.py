"""Runs a program on a kernel that lacks something: ``old_kernel.py WHAT,… PROGRAM …``.

A filter of system calls (seccomp) refuses what such a kernel does not know, with the
errors that it would give; the program and all it starts see nothing else of that.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence

from meshwg.runtime import tun
from meshwg.runtime.socket_options import SOL_UDP, UDP_GRO, UDP_SEGMENT

# Numbers of system calls (asm/unistd.h).
_CALLS = {
    "x86_64": {"setsockopt": 54, "getsockopt": 55, "ioctl": 16},
    "aarch64": {"setsockopt": 208, "getsockopt": 209, "ioctl": 29},
}[platform.machine()]

Condition = tuple[int, str, int]
"""The number of an argument, ``is`` or ``has``, and a value or bits."""
Rule = tuple[str, tuple[Condition, ...], int]
"""A system call, which arguments of it are meant, and the error it gives."""

LACKS: dict[str, tuple[Rule, ...]] = {
    "udp-gro": (
        ("setsockopt", ((1, "is", SOL_UDP), (2, "is", UDP_GRO)), errno.ENOPROTOOPT),
    ),
    "udp-segment": (
        ("getsockopt", ((1, "is", SOL_UDP), (2, "is", UDP_SEGMENT)), errno.ENOPROTOOPT),
    ),
    "uso": (
        (
            "ioctl",
            ((1, "is", tun.TUNSETOFFLOAD), (2, "has", tun.UDP_OFFLOADS)),
            errno.EINVAL,
        ),
    ),
    "tso": (
        (
            "ioctl",
            ((1, "is", tun.TUNSETOFFLOAD), (2, "has", tun.TCP_OFFLOADS)),
            errno.EINVAL,
        ),
    ),
}
"""What a kernel may lack. Before Linux 4.18 there was no UDP_SEGMENT, before 5.0 no
UDP_GRO, before 6.2 no USO; TSO may be missing where something else plays the kernel."""

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
SECCOMP_MODE_FILTER = 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
# Instructions of the classic packet filter (linux/filter.h), and struct seccomp_data.
LOAD, JUMP_IF_IS, JUMP_IF_HAS, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, ARGUMENTS, ARGUMENT_SIZE = 0, 16, 8
_INSTRUCTION = struct.Struct("HBBI")
_PROGRAM = struct.Struct("H6xP")


def program(rules: Sequence[Rule]) -> bytes:
    """Return a filter that refuses what one of the rules means."""
    instructions: list[bytes] = []
    for call, conditions, error in rules:
        tests = [(NUMBER, JUMP_IF_IS, _CALLS[call])]
        for argument, kind, value in conditions:
            jump = JUMP_IF_IS if kind == "is" else JUMP_IF_HAS
            tests.append((ARGUMENTS + argument * ARGUMENT_SIZE, jump, value))
        rest = 2 * len(tests)
        for place, jump, value in tests:
            rest -= 2
            instructions.append(_INSTRUCTION.pack(LOAD, 0, 0, place))
            # Where one does not hold, this goes on behind the rule.
            instructions.append(_INSTRUCTION.pack(jump, 0, rest + 1, value))
        instructions.append(_INSTRUCTION.pack(RETURN, 0, 0, REFUSE | error))
    instructions.append(_INSTRUCTION.pack(RETURN, 0, 0, ALLOW))
    return b"".join(instructions)


def become(what: Sequence[str]) -> None:
    """Live on such a kernel from now on."""
    text = program([rule for each in what for rule in LACKS[each]])
    code = ctypes.create_string_buffer(text, len(text))
    count = len(text) // _INSTRUCTION.size
    header = ctypes.create_string_buffer(_PROGRAM.pack(count, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0),
    ):
        if libc.prctl(*request) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    become(sys.argv[1].split(","))
    os.execvp(sys.argv[2], sys.argv[2:])
