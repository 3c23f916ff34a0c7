"""The kinds of network that users sit in, by name, with what they are like."""

from dataclasses import dataclass

from meshwg.nat.behaviour import NatBehavior
from meshwg.nattypes import Filtering, Mapping, PortAllocation
from tests.sim.host import Host
from tests.sim.nat import UNANSWERED_LIFETIME, Firewall, Nat, Pooling, WanInput
from tests.sim.network import Network
from tests.sim.router import Router

EIM = Mapping.ENDPOINT_INDEPENDENT
ADM = Mapping.ADDRESS_DEPENDENT
APDM = Mapping.ADDRESS_AND_PORT_DEPENDENT
EIF = Filtering.ENDPOINT_INDEPENDENT
ADF = Filtering.ADDRESS_DEPENDENT
APDF = Filtering.ADDRESS_AND_PORT_DEPENDENT
PRESERVING = PortAllocation.PRESERVING
SEQUENTIAL = PortAllocation.SEQUENTIAL
RANDOM = PortAllocation.RANDOM


@dataclass(frozen=True, slots=True)
class Kind:
    """Routers between the internet and a host, the outermost first."""

    name: str
    behaviour: NatBehavior
    """What a perfect measurement finds: mapping, filtering, allocation, delta."""
    routers: tuple[Nat | Firewall, ...] = ()
    public_addresses: int = 1
    block_udp: bool = False

    def add_to(self, network: Network, name: str, number: int) -> Host:
        """Build a host of this kind; ``number`` 1 to 250 sets its public addresses.

        Hosts behind translation all have the address 192.168.1.2, as at home.
        """
        router: Router | None = None
        address = f"203.0.{number}.2"
        for level, policy in enumerate(self.routers):
            inner = f"{name}-router-{level}"
            if isinstance(policy, Firewall):
                router = network.add_router(
                    inner, behind=router, firewall=policy, block_udp=self.block_udp
                )
                continue
            outside = (
                [f"203.{extra}.{number}.1" for extra in range(self.public_addresses)]
                if level == 0
                else [f"100.64.{level}.{number}"]
            )
            router = network.add_router(
                inner, *outside, behind=router, nat=policy, block_udp=self.block_udp
            )
            address = "192.168.1.2"
        return network.add_host(name, address, behind=router)


def _kind(
    name: str,
    mapping: Mapping,
    filtering: Filtering,
    allocation: PortAllocation = PRESERVING,
    *,
    delta: int | None = None,
    public_addresses: int = 1,
    wan_input: WanInput = WanInput.DROP,
    unanswered: float | None = None,
) -> Kind:
    """Return the kind with one NAT."""
    nat = Nat(
        mapping,
        filtering,
        allocation,
        delta=delta or 1,
        wan_input=wan_input,
        unanswered=unanswered,
        pooling=Pooling.ARBITRARY if public_addresses > 1 else Pooling.PAIRED,
    )
    behaviour = _behaviour(mapping, filtering, allocation, delta)
    return Kind(name, behaviour, (nat,), public_addresses)


def _behaviour(
    mapping: Mapping,
    filtering: Filtering,
    allocation: PortAllocation = PortAllocation.UNKNOWN,
    delta: int | None = None,
) -> NatBehavior:
    return NatBehavior(
        reachable=True,
        mapping=mapping,
        filtering=filtering,
        port_allocation=allocation,
        port_delta=delta,
    )


PUBLIC = Kind("public", _behaviour(Mapping.NONE, EIF))
FIREWALLED_PUBLIC = Kind(
    "firewalled-public", _behaviour(Mapping.NONE, APDF), (Firewall(),)
)
FULL_CONE = _kind("full-cone", EIM, EIF)
ADDRESS_RESTRICTED = _kind("address-restricted", EIM, ADF)
PORT_RESTRICTED = _kind("port-restricted", EIM, APDF, RANDOM)
LINUX = _kind("linux", EIM, APDF)
SLOPPY_LINUX = _kind(
    "sloppy-linux",
    EIM,
    APDF,
    wan_input=WanInput.SLOPPY,
    unanswered=UNANSWERED_LIFETIME,
)
ADDRESS_DEPENDENT_MAPPING = _kind("address-dependent-mapping", ADM, APDF, RANDOM)
SYMMETRIC_EIF = _kind("symmetric-eif", APDM, EIF, RANDOM)
SYMMETRIC_ADF = _kind("symmetric-adf", APDM, ADF, RANDOM)
SYMMETRIC_SEQUENTIAL = _kind("symmetric-sequential", APDM, APDF, SEQUENTIAL, delta=1)
SYMMETRIC_SEQUENTIAL_DOWN = _kind(
    "symmetric-sequential-down", APDM, APDF, SEQUENTIAL, delta=-2
)
SYMMETRIC_RANDOM = _kind("symmetric-random", APDM, APDF, RANDOM)
SYMMETRIC_TWO_ADDRESSES = _kind(
    "symmetric-two-addresses", APDM, APDF, RANDOM, public_addresses=2
)
DOUBLE_NAT_CONE = Kind(
    "double-nat-cone", _behaviour(EIM, APDF, PRESERVING), (Nat(), Nat())
)
DOUBLE_NAT_SYMMETRIC = Kind(
    "double-nat-symmetric",
    _behaviour(APDM, APDF, RANDOM),
    (Nat(APDM, APDF, RANDOM), Nat()),
)
UDP_BLOCKED = Kind("udp-blocked", NatBehavior(blocked=True), (Nat(),), block_udp=True)

UDP_BLOCKED_SYMMETRIC_TCP = Kind(
    "udp-blocked-symmetric-tcp",
    NatBehavior(blocked=True),
    (Nat(tcp_mapping=APDM),),
    block_udp=True,
)
SYMMETRIC_ALSO_TCP = Kind(
    "symmetric-also-tcp",
    _behaviour(APDM, APDF, RANDOM),
    (Nat(APDM, APDF, RANDOM, tcp_mapping=APDM),),
)

KINDS = (
    PUBLIC,
    FIREWALLED_PUBLIC,
    FULL_CONE,
    ADDRESS_RESTRICTED,
    PORT_RESTRICTED,
    LINUX,
    ADDRESS_DEPENDENT_MAPPING,
    SYMMETRIC_EIF,
    SYMMETRIC_ADF,
    SYMMETRIC_SEQUENTIAL,
    SYMMETRIC_SEQUENTIAL_DOWN,
    SYMMETRIC_RANDOM,
    SYMMETRIC_TWO_ADDRESSES,
    DOUBLE_NAT_CONE,
    DOUBLE_NAT_SYMMETRIC,
    UDP_BLOCKED,
)
"""All but :data:`SLOPPY_LINUX`, which is only told apart by punching order, and those
that are told apart over TCP only."""
