"""Which mesh a node is in, and what it remembers of that mesh between two runs."""

import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from meshwg import __version__
from meshwg.config import NodeConfig
from meshwg.control.identity import Identity
from meshwg.control.refusals import MEMBERSHIP_LOST
from meshwg.errors import ConfigError, CoordinatorError, MeshError, NotJoined, Removed
from meshwg.keys import PrivateKey
from meshwg.node import Expelled
from meshwg.routeoptions import RouteOptions
from meshwg.runtime.offered_routes import announced, traits_of
from meshwg.runtime.saver import Content, SavedFile, Saver
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.control import Cache, load_cache
from meshwg.wire.token import JoinToken

_IF_NEW_KEY = (
    "; if it is the same mesh, whose coordinator has another key now, add --new-key"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClusterMember:
    """What is particular to a host that is a node of a cluster.

    Networks behind peers are routed only after a session with these.
    """

    service_token: str | None = field(repr=False)
    """What the cluster says of it, for the coordinator."""
    on_change: Callable[[], None]
    """Called, from the event loop, when the mesh may be another one to this node."""


class MembershipRecord:
    """A node's membership and cached netmap, and the files they are kept in.

    :param new_key: whether a token may name another key of the coordinator.
    :raises NotJoined: if there is neither a token nor a stored membership.
    :raises ConfigError: if the token is another mesh's, or what is stored is damaged.
    """

    def __init__(
        self, config: NodeConfig, state: StateDirectory, *, new_key: bool = False
    ) -> None:
        self.stored = choose_membership(config, state, new_key=new_key)
        self._state = state
        self._saver: Saver | None = None
        self._netmap: SavedFile | None = None
        self._pins: SavedFile | None = None
        self._is_void = False
        self.has_lost_netmap = False
        """The netmap of the last run, and the policy in it, could not be read."""

    def cached_netmap(self) -> Cache | None:
        """Return the netmap of the last run, if there is one that can be read."""
        cache = self._state.netmap()
        if cache is None:
            return None
        try:
            return load_cache(cache)
        except MeshError as error:
            logger.warning("%s", error)
            self.has_lost_netmap = True
            return None

    def save_from(
        self, netmap: Callable[[], Content], pins: Callable[[], Content]
    ) -> None:
        """Save what these functions return, from now on, whenever it has changed."""
        self._saver = Saver()
        # Whoever is in the netmap on the disk is pinned there.
        self._pins = self._saver.keep(self._state.save_pins, pins)
        self._netmap = self._saver.keep(self._state.save_netmap, netmap)

    def netmap_changed(self) -> None:
        """The netmap is worth saving again."""
        if self._netmap is not None:
            self._netmap.change()

    def trust_changed(self) -> None:
        """The pinned keys are worth saving again."""
        if self._pins is not None:
            self._pins.change()

    def accepted(self) -> None:
        """The coordinator has let the node in: its auth key is no longer needed."""
        if self.stored.auth_key is None:
            return
        self._store(replace(self.stored, auth_key=None))

    def coordinator_key_changed(self, key: bytes, former: bytes | None) -> None:
        """The coordinator is known by another key from now on."""
        self._store(replace(self.stored, coordinator_key=key, former_key=former))

    def coordinators_changed(self, urls: Sequence[str]) -> None:
        """The coordinators of the mesh are there now."""
        url, *others = urls
        self._store(replace(self.stored, url=url, others=tuple(others)))

    def _store(self, stored: StoredMembership) -> None:
        self.stored = stored
        try:
            self._state.save_membership(stored)
        except MeshError as error:
            logger.error("%s", error)

    def renew(self, token: JoinToken, *, new_key: bool = False) -> None:
        """Join the mesh that this node is in anew, by another token.

        :param new_key: whether the coordinator may have another key than before.
        :raises ConfigError: if the token is another mesh's.
        """
        if not self.stored.knows(token.coordinator_key) and not new_key:
            raise ConfigError(
                "The running node belongs to another mesh: stop it with 'meshwg down', "
                f"and use another --state-dir{_IF_NEW_KEY}"
            )
        self.stored = _renewed(self.stored, token)
        url, others = token.url, token.others
        self._state.save_membership(replace(self.stored, url=url, others=others))

    def expelled(self) -> None:
        """The node is no longer a member: forget the netmap when this is closed."""
        self._is_void = True

    def explain(self, expelled: Expelled) -> MeshError:
        """Return why a node cannot go on that its mesh does not want."""
        reason = f"{expelled.reason.rstrip('.')}."
        if expelled.forget or expelled.code in MEMBERSHIP_LOST:
            return Removed(f"{reason} Join again with 'meshwg join' and a new token.")
        if self.stored.auth_key is not None:
            return NotJoined(reason)
        return CoordinatorError(reason)

    async def close(self) -> None:
        """Save what is not saved yet, or forget it all after an expulsion."""
        if self._saver is not None:
            await self._saver.close()
        if self._is_void:
            self._state.forget_netmap()


def identity(
    config: NodeConfig,
    stored: StoredMembership,
    private_key: PrivateKey,
    routes: Sequence[RouteOptions],
    cluster: ClusterMember | None = None,
) -> Identity:
    """Return what a node is to its coordinator.

    :param routes: the networks behind it.
    :param cluster: what it is to a cluster, if it is a node of one.
    """
    return Identity(
        private_key,
        stored.coordinator_key,
        config.name or socket.gethostname(),
        auth_key=stored.auth_key,
        role=config.role,
        routes=announced(routes),
        traits=traits_of(routes),
        exit=config.exit,
        software=f"meshwg {__version__}",
        urls=stored.urls,
        former_key=stored.former_key,
        service_token=None if cluster is None else cluster.service_token,
    )


def choose_membership(
    config: NodeConfig, state: StateDirectory, *, new_key: bool = False
) -> StoredMembership:
    """Return which mesh to be in: that of the token, or the one from before.

    :param new_key: whether the coordinator may have another key than before.
    :raises NotJoined: if there is neither.
    :raises ConfigError: if the node is a member of another mesh than the token's.
    """
    known = state.membership()
    if config.join is None:
        if known is None:
            raise NotJoined(
                "This node belongs to no mesh yet: get a token with "
                "'meshwg-coordinator token create' and run 'meshwg node --join TOKEN'"
            )
        return known
    token = JoinToken.parse(config.join)
    if known is None or not _was_accepted(known, state):
        membership = StoredMembership(
            token.url, token.coordinator_key, str(token.auth_key), others=token.others
        )
    elif known.knows(token.coordinator_key) or new_key:
        membership = replace(_renewed(known, token), url=token.url, others=token.others)
    else:
        raise ConfigError(
            "This node already belongs to another mesh: use another --state-dir, or "
            f"'meshwg leave' to leave that mesh{_IF_NEW_KEY}"
        )
    state.save_membership(membership)
    return membership


def _renewed(stored: StoredMembership, token: JoinToken) -> StoredMembership:
    """Return a membership that is to be asked for again, at the URL of before."""
    stored = replace(stored, auth_key=str(token.auth_key))
    if not stored.knows(token.coordinator_key):
        stored = replace(stored, coordinator_key=token.coordinator_key, former_key=None)
    return stored


def _was_accepted(membership: StoredMembership, state: StateDirectory) -> bool:
    """Tell whether a coordinator has let this node in, or only been asked to."""
    return membership.auth_key is None or state.netmap() is not None
