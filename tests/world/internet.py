"""Where things are in a world, and how hosts look from outside."""

from tests.sim.host import Host
from tests.sim.nat import Pooling, Translation
from tests.sim.router import Router

STUN_HOSTS = ("198.51.100.1", "198.51.100.2")
RELAY_HOSTS = ("198.51.100.9", "198.51.100.10")
NODE_PORT = 41641


def routers_of(host: Host) -> list[Router]:
    """Return the routers between a host and the internet, the innermost first."""
    routers = []
    router = host.interfaces[0].realm.gateway
    while router is not None:
        routers.append(router)
        router = router.outside.gateway
    return routers


def way_out(host: Host) -> tuple[object, ...] | None:
    """Return what stands for the way of a host's new connections, which dies with it.

    ``None`` while the host has no address.
    """
    if not host.interfaces:
        return None
    own = host.interfaces[0]
    routers = ((router.name, router.reboots) for router in routers_of(host))
    return (own.address, *routers)


def address_outside(host: Host) -> str:
    """Return the address that a new connection of a host comes from."""
    address = host.interfaces[0].address
    if ":" in address:
        return address
    for router in routers_of(host):
        if router.translation is not None:
            addresses = router.translation.addresses
            is_paired = router.translation.policy.pooling is Pooling.PAIRED
            address = (
                addresses[0] if is_paired else host.network.random.choice(addresses)
            )
    return address


def _address_of(translation: Translation, host: Host) -> str:
    if translation.policy.pooling is Pooling.ARBITRARY:
        return host.network.random.choice(translation.addresses)
    return translation.addresses[0]
