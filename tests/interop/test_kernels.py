"""``meshwg-wg`` on kernels that lack what makes it fast, with either data path.

The other end is the same program on the kernel of this machine.
"""

import random
import sys
from pathlib import Path

import pytest

from netlab.lab import Lab
from netlab.wireguard import MESHWG, MTU
from tests import datapaths
from tests.interop import old_kernel
from tests.interop.tunnels import Side, join_on_a_switch, ping, transfer

pytestmark = [pytest.mark.netns, datapaths.over_each]

PAYLOAD = random.Random(1).randbytes(1 << 20)
EVERYTHING = ",".join(old_kernel.LACKS)


def on_a_kernel_without(lab: Lab, what: str) -> tuple[Side, Side]:
    """Return the ends of a tunnel, the first of which is on such a kernel."""
    program = str(Path(old_kernel.__file__))
    engine = (sys.executable, program, what, *MESHWG)
    return join_on_a_switch(lab, (engine, MESHWG))


@pytest.mark.parametrize("what", [*old_kernel.LACKS, EVERYTHING])
def test_what_is_missing_costs_speed_only(lab: Lab, what: str) -> None:
    old, new = on_a_kernel_without(lab, what)
    ping(old, new.ip, count=20)
    ping(new, old.ip6, count=20)
    transfer(old, new, new.ip, PAYLOAD)
    transfer(new, old, old.ip6, PAYLOAD)


def test_without_udp_segment_each_datagram_leaves_alone(lab: Lab) -> None:
    old, new = on_a_kernel_without(lab, "udp-segment")
    ping(old, new.ip)
    outside = old.host.capture(filter=f"udp and src {old.host.address()}")
    transfer(old, new, new.ip, PAYLOAD)
    assert max(map(len, outside.packets())) < 2 * MTU
