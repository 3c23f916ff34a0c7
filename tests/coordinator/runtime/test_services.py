"""STUN and the relay, as a configuration asks for them."""

from pathlib import Path
from typing import Any

import pytest

from coordinator.addresses import PublicAddresses
from coordinator.config import load
from coordinator.mesh.ipam import Networks
from coordinator.mesh.registry import Registry
from coordinator.runtime.relay import Relay
from coordinator.runtime.services import Services, is_local, make_services
from coordinator.runtime.tcp import TurnStream
from coordinator.runtime.udp import UdpService
from meshwg.errors import ConfigError
from meshwg.transmit import Endpoint
from tests.coordinator.programs import loopback


async def test_a_relay_is_served_on_the_sockets_of_stun(tmp_path: Path) -> None:
    services = services_of(tmp_path)
    udp, relay = services.services
    assert isinstance(udp, UdpService)
    assert isinstance(relay, Relay)
    assert udp.on_relay == relay.receive
    assert services.stream is not None
    assert isinstance(services.stream(None), TurnStream)


async def test_without_a_relay_there_is_only_stun_and_streams_are_cut(
    tmp_path: Path,
) -> None:
    services = services_of(tmp_path, relay=False)
    (udp,) = services.services
    assert isinstance(udp, UdpService)
    assert udp.on_relay is None
    assert services.stream is None


async def test_stun_is_served_at_the_configured_addresses(tmp_path: Path) -> None:
    udp, *_ = services_of(tmp_path, stun=("127.0.0.1:4000", "127.0.0.2:4000")).services
    assert isinstance(udp, UdpService)
    assert udp.stun.sockets == (
        Endpoint("127.0.0.1", 4000),
        Endpoint("127.0.0.1", 4001),
        Endpoint("127.0.0.2", 4000),
        Endpoint("127.0.0.2", 4001),
    )


@pytest.mark.parametrize(
    "stun",
    [
        ("127.0.0.1:4000", "127.0.0.1:4000"),
        ("127.0.0.1:4000", "127.0.0.2:5000"),
        ("127.0.0.1:4000", "0.0.0.0:4000"),
        ("127.0.0.1:65535",),
    ],
)
async def test_addresses_that_do_not_fit_together_are_refused(
    tmp_path: Path, stun: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match="--stun"):
        services_of(tmp_path, stun=stun)


async def test_services_can_be_closed_before_and_after_they_start(
    tmp_path: Path,
) -> None:
    services = services_of(tmp_path, stun=(f"{loopback()}:3478",))
    for service in services.services:
        await service.close()
    for service in services.services:
        await service.start()
        assert list(service.metrics())
        await service.close()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.77.0.1", True),
        ("::1", True),
        ("192.0.2.77", False),
        ("2001:db8::77", False),
        ("", True),
        ("256.1.1.1", False),
    ],
)
def test_the_addresses_of_this_machine_are_known(host: str, local: bool) -> None:
    assert is_local(host) is local


def services_of(data_dir: Path, **options: Any) -> Services:
    listen = {"data_dir": data_dir, "listen": "127.0.0.1:8443"}
    config = load(None, listen | options)
    public = PublicAddresses(config, "127.0.0.1", 8443, "127.0.0.1")
    registry = Registry(Networks.parse("100.64.0.0/16", "fd00::/48"), "epoch")
    return make_services(config, public, b"secret", registry)
