"""The kernel's connection table, flushed as by a router that reboots."""

import socket
import struct

from netlab.errors import LabError

# <linux/netlink.h>, <linux/netfilter/nfnetlink.h>, nfnetlink_conntrack.h
NETLINK_NETFILTER = 12
NLMSG_ERROR = 2
NLM_F_REQUEST_ACK = 0x05
NFNL_SUBSYS_CTNETLINK = 1
IPCTNL_MSG_CT_DELETE = 2


def flush() -> None:
    """Empty the connection table of the calling thread's namespace.

    A delete request that names no entry deletes all entries.
    """
    kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE
    any_family = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    header = struct.pack("=IHHII", 16 + len(any_family), kind, NLM_F_REQUEST_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.send(header + any_family)
        answer = kernel.recv(4096)
    (answer_kind,) = struct.unpack_from("=H", answer, 4)
    (code,) = struct.unpack_from("=i", answer, 16)
    if answer_kind != NLMSG_ERROR or code != 0:
        raise LabError(
            f"The kernel did not flush its connection table (error {-code})."
        )
