"""NATs whose answers leave by the port at which the question came in, as Linux does.

A strictly address-and-port-dependent NAT would answer from a new public port, since the
asker is a new destination. Connection tracking knows the flow from its first packet,
whichever direction that came from, and translates all of it alike.
"""

from tests.sim.nat import Address, Translation, _Binding
from tests.sim.network import Network
from tests.sim.realm import Realm
from tests.sim.router import Router


class TrackingTranslation(Translation):
    """A :class:`Translation` that remembers the flows which began outside."""

    _flows: dict[tuple[Address, Address], _Binding]

    def inbound(self, outside: Address, remote: Address, now: float) -> Address | None:
        inside = super().inbound(outside, remote, now)
        binding = self._by_outside.get(outside)
        if inside is not None and binding is not None:
            self._tracked().setdefault((inside, remote), binding)
        return inside

    def _binding_for(
        self, inside: Address, remote: Address, now: float
    ) -> _Binding | None:
        binding = self._tracked().get((inside, remote))
        if binding is not None and self._by_outside.get(binding.outside) is binding:
            if binding.expires > now:
                return binding
            del self._flows[inside, remote]
        return super()._binding_for(inside, remote, now)

    def _tracked(self) -> dict[tuple[Address, Address], _Binding]:
        if not hasattr(self, "_flows"):
            self._flows = {}
        return self._flows


def track_flows(network: Network, realm: Realm) -> None:
    """Let every router between a realm and the internet track its flows."""
    router: Router | None = realm.gateway
    while router is not None:
        if type(router.translation) is Translation:
            router.translation = TrackingTranslation(
                router.translation.policy,
                router.translation.addresses,
                network.random,
            )
        router = router.outside.gateway
