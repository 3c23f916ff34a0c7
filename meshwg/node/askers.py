"""Which member made a check that arrived, or answered one of this node.

A check is told by its tag, and an answer by the first bytes of its transaction id. Both
are words that this node gave out, hidden from everybody else; or the tag is what only
the two nodes can derive. That costs a curve operation for each member. So it is derived
when its agent is made, or when a check of an unknown asker comes.
"""

from itertools import islice

from meshwg.keys import PrivateKey
from meshwg.path.veil import Veil
from meshwg.peer import MeshPeer
from meshwg.wire.stun import Attribute, Class, Message

DERIVED_AT_ONCE = 32
"""Members whose tags are derived for one check of an unknown asker."""


class Askers:
    """The members of a mesh, by what their checks and answers begin with.

    :ivar routes: by the start of the transaction ids of this node's own checks.
    """

    def __init__(self, private_key: PrivateKey) -> None:
        self.routes: dict[bytes, MeshPeer] = {}
        self._private_key = private_key
        self.veil = Veil(private_key)
        self._by_word: dict[bytes, MeshPeer] = {}
        self._by_tag: dict[str, MeshPeer] = {}
        self._untagged: dict[MeshPeer, None] = {}

    def add(self, peer: MeshPeer) -> None:
        """Take note of a member, whose tag is not derived yet."""
        self._untagged[peer] = None
        self._by_word[self.veil.word_for(peer.tunnel.public_key)] = peer

    def begin(self, peer: MeshPeer) -> None:
        """Take note of a member that now has an agent."""
        self._tag(peer)
        if peer.agent is not None:
            self.routes[peer.agent.checks.route] = peer

    def remove(self, peer: MeshPeer) -> None:
        """Forget a member."""
        self._by_word.pop(self.veil.word_for(peer.tunnel.public_key), None)
        if self._untagged.pop(peer, peer) is peer:
            keys = peer.check_keys(self._private_key)
            self._by_tag.pop(keys.incoming.tag if keys is not None else "", None)
        if peer.agent is not None:
            self.routes.pop(peer.agent.checks.route, None)

    def find(self, message: Message) -> MeshPeer | None:
        """Return whose check this is, or who answers one of this node's."""
        if message.cls is not Class.REQUEST:
            return self.routes.get(self.veil.route_in(message.transaction_id))
        tag = message.attributes.get(Attribute.USERNAME)
        return self._find_tag(tag) if isinstance(tag, str) else None

    def _find_tag(self, tag: str) -> MeshPeer | None:
        """Return whose checks have this tag, perhaps a member not needed before.

        Each check of an unknown asker pays for some members only; the asker repeats it.
        """
        found = self._by_tag.get(tag)
        if found is None and (word := self.veil.word_in(tag)) is not None:
            found = self._by_word.get(word)
        if found is not None or not self._untagged:
            return found
        for peer in list(islice(self._untagged, DERIVED_AT_ONCE)):
            self._tag(peer)
        return self._by_tag.get(tag)

    def _tag(self, peer: MeshPeer) -> None:
        """Know a peer by its checks from now on."""
        self._untagged.pop(peer, None)
        if (keys := peer.check_keys(self._private_key)) is not None:
            self._by_tag[keys.incoming.tag] = peer
