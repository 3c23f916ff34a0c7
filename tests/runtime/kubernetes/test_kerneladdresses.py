"""Floating addresses in a real kernel, and what it refuses."""

import json
import time
from functools import partial

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.floatingaddress import parse_addresses
from meshwg.runtime.kubernetes.kerneladdresses import KernelAddresses
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

BOTH = parse_addresses(("10.60.0.10", "fd60::10"))


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host(
        "host", lab.add_switch("cable", "192.0.2.0/24", "2001:db8::/64")
    )


@pytest.mark.parametrize("interface", ["lo", "eth0"])
def test_they_come_and_go(host: Host, interface: str) -> None:
    addresses = host.call(partial(KernelAddresses, interface, BOTH))
    assert shown(host, interface) == {}

    host.call(partial(addresses.have, 60))
    assert shown(host, interface) == {"10.60.0.10": 60, "fd60::10": 60}
    host.run(["ping", "-c", "1", "-W", "5", "10.60.0.10"])

    host.call(addresses.remove)
    assert shown(host, interface) == {}
    # Once more does no harm.
    host.call(addresses.remove)


def test_they_stay_for_as_long_as_was_said_last(host: Host) -> None:
    addresses = host.call(partial(KernelAddresses, "lo", BOTH))
    host.call(partial(addresses.have, 1))
    host.call(partial(addresses.have, 3600))
    time.sleep(2.5)
    assert set(shown(host, "lo")) == {"10.60.0.10", "fd60::10"}


def test_they_go_by_themselves_where_nobody_says_more(host: Host) -> None:
    addresses = host.call(partial(KernelAddresses, "lo", BOTH))
    host.call(partial(addresses.have, 1))
    end = time.monotonic() + 30
    while shown(host, "lo"):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_a_machine_has_for_good_does_not_float(host: Host) -> None:
    host.run(["ip", "address", "add", "10.60.0.10/24", "dev", "eth0"])
    with pytest.raises(ConfigError, match="for good"):
        host.call(partial(KernelAddresses, "lo", BOTH))


def test_what_was_left_by_a_killed_program_is_removed(host: Host) -> None:
    first = host.call(partial(KernelAddresses, "lo", BOTH))
    host.call(partial(first.have, 60))
    host.call(partial(KernelAddresses, "lo", BOTH))
    assert shown(host, "lo") == {}


def test_an_interface_that_is_not_there_is_told_of(host: Host) -> None:
    with pytest.raises(ConfigError, match="There is no interface eth9"):
        host.call(partial(KernelAddresses, "eth9", BOTH))


def shown(host: Host, interface: str) -> dict[str, int]:
    """Return the floating addresses that ``ip`` shows, with their seconds."""
    command = ["ip", "-json", "address", "show", "dev", interface]
    (link,) = json.loads(host.run(command).stdout)
    return {
        each["local"]: each["valid_life_time"]
        for each in link["addr_info"]
        if each["local"] in ("10.60.0.10", "fd60::10")
    }
