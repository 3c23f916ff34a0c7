"""How routers translate TCP: by flows, as connection tracking does.

Linux knows each half of a flow by its sequence numbers. A later SYN of the side that
began may begin anew, but once the other side's SYN has come too, an answer by another
socket than the one whose SYN went out is no part of the flow, and is not translated.
"""

from tests.sim.nat import Address, Translation
from tests.sim.tcp import Flag, Segment


class TcpTranslation(Translation):
    """A :class:`Translation` whose answers leave by the port that was asked.

    That also holds for who came in by a forwarded port.
    """

    _flows: dict[tuple[Address, Address], Address]
    _starts: dict[tuple[Address, Address], int]

    def inbound(self, outside: Address, remote: Address, now: float) -> Address | None:
        inside = super().inbound(outside, remote, now)
        if inside is not None:
            self._tracked().setdefault((inside, remote), outside)
        return inside

    def outbound(self, inside: Address, remote: Address, now: float) -> Address | None:
        outside = self._tracked().get((inside, remote))
        if outside is None:
            return super().outbound(inside, remote, now)
        binding = self._by_outside.get(outside)
        if binding is not None and binding.inside == inside:
            binding.expires = now + self.policy.lifetime
            binding.permissions.grant(remote, now)
        return outside

    def belongs(self, inside: Address, remote: Address, segment: Segment) -> bool:
        """Tell whether a segment from inside is part of the flow it seems to be."""
        if not hasattr(self, "_starts"):
            self._starts = {}
        if segment.flag is Flag.SYN:
            self._starts[inside, remote] = segment.start
        began = self._starts.get((inside, remote))
        is_answer = segment.flag is Flag.SYN_ACK and began is not None
        return not is_answer or began == segment.start

    def reboot(self) -> None:
        super().reboot()
        self._tracked().clear()

    def _tracked(self) -> dict[tuple[Address, Address], Address]:
        if not hasattr(self, "_flows"):
            self._flows = {}
        return self._flows
