"""What happens to the interface while ``meshwg-wg`` carries, with either data path."""

import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from netlab import links
from netlab.lab import Lab
from netlab.wireguard import MESHWG, MTU
from tests import datapaths
from tests.interop.tunnels import (
    IPV4_AND_ICMP,
    Side,
    counted,
    join_on_a_switch,
    ping,
    transfer,
)

pytestmark = [pytest.mark.netns, datapaths.over_each]

PAYLOAD = random.Random(1).randbytes(8 << 20)
NARROW = 1300


def join(lab: Lab) -> tuple[Side, Side]:
    """Return the ends of a tunnel that has a session."""
    sides = join_on_a_switch(lab, (MESHWG, MESHWG))
    ping(sides[0], sides[1].ip)
    return sides


def change(side: Side, what: str) -> None:
    """Change the interface of a side."""
    links.ip(side.host.namespace, f"link set {side.interface} {what}")


@pytest.mark.parametrize("which", [0, 1], ids=["initiator", "responder"])
def test_a_link_that_was_down_carries_again(lab: Lab, which: int) -> None:
    sides = join(lab)
    for _ in range(3):
        change(sides[which], "down")
        change(sides[which], "up")
        ping(sides[which], sides[1 - which].ip)
        ping(sides[1 - which], sides[which].ip)


def test_a_transfer_survives_changes_of_the_mtu(lab: Lab) -> None:
    one, two = join(lab)
    with ThreadPoolExecutor() as threads:
        transferred = threads.submit(transfer, one, two, two.ip, PAYLOAD)
        for mtu in (NARROW, MTU, NARROW, MTU, NARROW):
            change(one, f"mtu {mtu}")
            change(two, f"mtu {mtu}")
            ping(two, one.ip, size=NARROW - IPV4_AND_ICMP)
        transferred.result()
    assert counted(one.host, "*FragCreates") == 0


def test_packets_of_a_larger_mtu_are_carried_at_once(lab: Lab) -> None:
    one, two = join(lab)
    for mtu in (NARROW, MTU, NARROW + 1, MTU - 1):
        for side in (one, two):
            change(side, f"mtu {mtu}")
        ping(one, two.ip, size=mtu - IPV4_AND_ICMP)
        ping(two, one.ip, size=mtu - IPV4_AND_ICMP)


def test_it_ends_in_order_if_the_interface_goes_amid_a_transfer(lab: Lab) -> None:
    one, two = join(lab)
    flood = one.host.popen(["ping", "-q", "-f", "-s", "1000", two.ip])
    links.ip(one.host.namespace, f"link delete {one.interface}")
    assert one.process.wait(10) == 0
    flood.send_signal(signal.SIGKILL)
    assert "Traceback" not in one.process.output()
    one.up()
    ping(one, two.ip)
