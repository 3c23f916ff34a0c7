"""What changes the mesh, and with what result.

An operation is decided by :class:`coordinator.mesh.draft.Draft` inside one database
transaction, and answered only after that has been committed.
"""

from dataclasses import dataclass, field, replace

from coordinator.kubernetes.identity import ClusterProof
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.approvals import Announcement
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.nodes import Node
from coordinator.mesh.policies import ActivePolicy, PolicyVersion
from meshwg.wire.control import ErrorCode, LeaseTerm, SeenFlow
from meshwg.wire.dnsrecords import DnsRecord
from meshwg.wire.routes import RouteTraits


@dataclass(frozen=True, slots=True)
class Operation:
    """Base class of the operations."""


@dataclass(frozen=True, slots=True)
class Join(Operation):
    """A node has connected and asks to be let in, for the first time or again."""

    key: str
    session: str
    home: str
    name: str
    auth_key: str | None = field(default=None, repr=False)
    role: str = "node"
    routes: tuple[str, ...] = ()
    candidates: str = "[]"
    nat: str = "null"
    traits: tuple[RouteTraits, ...] = ()
    exit: bool = False
    proof: ClusterProof | None = None
    """What a cluster says of it, if it has shown that and it was found true."""
    unproved: "Refused | None" = None
    """Why what it has shown of a cluster lets it not in."""


@dataclass(frozen=True, slots=True)
class Update(Operation):
    """A member is reachable at other addresses, or offers something else."""

    key: str
    candidates: str
    nat: str
    announcement: Announcement | None = None
    """``None``: it offers what it did."""

    def after(self, older: "Update") -> "Update":
        """Return what two updates of a member say together, this being the later."""
        if self.announcement is None or older.announcement is None:
            said = self.announcement or older.announcement
        else:
            said = self.announcement.after(older.announcement)
        return replace(self, announcement=said)


@dataclass(frozen=True, slots=True)
class NoteFlows(Operation):
    """A member has let others begin flows to it, or to what is behind it."""

    key: str
    flows: tuple[SeenFlow, ...]


@dataclass(frozen=True, slots=True)
class UseLease(Operation):
    """A member reads a lease, or writes into it."""

    key: str
    session: str
    number: int
    """By which the member knows the answer."""
    prefix: str
    base: int = 0
    """The version that is to be replaced."""
    term: LeaseTerm | None = None
    """``None`` to read only."""


@dataclass(frozen=True, slots=True)
class Disconnect(Operation):
    """A member's connection is gone; without effect if it has a newer one."""

    key: str
    session: str
    left: bool
    """It has said that it leaves."""


@dataclass(frozen=True, slots=True)
class MarkOffline(Operation):
    """Mark the members offline whose coordinator process is gone."""

    homes: frozenset[str]
    """The processes that are gone."""


@dataclass(frozen=True, slots=True)
class Sweep(Operation):
    """Remove the ephemeral nodes that have been away for too long."""

    away: tuple[tuple[str, str], ...] = ()
    """Public keys, each with the connection that the node had last: whoever has had
    another one since is left alone."""


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    """Give a node another name."""

    node: str
    """Its name or its public key."""
    name: str


@dataclass(frozen=True, slots=True)
class Assign(Operation):
    """Say to whom a node belongs, and what it is."""

    node: str
    owner: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Approve(Operation):
    """Let others be told of something that a node offers, now or later."""

    node: str
    item: str
    """A network, ``exit`` or ``hub``."""


@dataclass(frozen=True, slots=True)
class Refuse(Operation):
    """Let nobody be told of something that a node offers."""

    node: str
    item: str


@dataclass(frozen=True, slots=True)
class Expire(Operation):
    """Make a node join again; it keeps its address."""

    node: str


@dataclass(frozen=True, slots=True)
class Remove(Operation):
    """End the membership of a node, and free its address."""

    node: str


@dataclass(frozen=True, slots=True)
class CreateAuthKey(Operation):
    """Let nodes in that show this auth key, of which only the hash is known here."""

    auth_key: AuthKey


@dataclass(frozen=True, slots=True)
class RevokeAuthKey(Operation):
    """Make an auth key useless; nodes that have joined with it stay."""

    number: str


@dataclass(frozen=True, slots=True)
class ApplyPolicy(Operation):
    """Have another policy from now on; it is checked first, and refused whole."""

    text: str
    author: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class AddUser(Operation):
    """Know a user whom policies may name, and nodes belong to; or enable him again."""

    name: str


@dataclass(frozen=True, slots=True)
class DisableUser(Operation):
    """Let a user's nodes in no more, and policies name him no more."""

    name: str


@dataclass(frozen=True, slots=True)
class AddPeer(Operation):
    """Let a plain WireGuard peer in, which reaches the mesh by a hub."""

    name: str
    key: str
    """Its public key, base64."""
    hub: str = ""
    """The name of the node to be its hub; empty for the first that can be."""
    full_tunnel: bool = False
    """Whether everything it sends goes to the hub, which has to be an exit."""
    endpoint: str = ""
    """Where it reaches the hub, if that is not what the hub has found out."""
    owner: str = ""
    tags: tuple[str, ...] = ()
    token_digest: str = ""
    """Of what its configuration is fetched with; empty for not at all."""


@dataclass(frozen=True, slots=True)
class CreateApiToken(Operation):
    """Let a program administer the mesh that shows this token."""

    api_token: ApiToken


@dataclass(frozen=True, slots=True)
class RevokeApiToken(Operation):
    """Make an API token useless."""

    number: str


@dataclass(frozen=True, slots=True)
class Administered(Operation):
    """An operation of an administrator, which is noted in the audit log if it is
    accepted."""

    operation: Operation
    actor: str
    """Who he is, as far as that is known."""
    address: str = ""
    """From where he asks; empty for this machine."""
    expected: str = ""
    """The entity tag of what he has seen; if that has changed since, it is refused.
    Empty: he has seen nothing."""


@dataclass(frozen=True, slots=True)
class SetUrl(Operation):
    """Say at which URL nodes find the coordinator, for the join tokens to come."""

    url: str


@dataclass(frozen=True, slots=True)
class AddRecord(Operation):
    """Name something in the mesh's zone."""

    record: DnsRecord


@dataclass(frozen=True, slots=True)
class RemoveRecord(Operation):
    """Remove the records of a name."""

    name: str
    kind: str | None = None
    """Only those of this kind; ``None`` for any."""
    value: str | None = None
    """Only those that say this."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The operation was carried out, even if there was nothing to change."""

    node: Node | None = None
    """The node it was about, as it is now; for :class:`Remove`, as it was."""
    notice: str = ""
    """What the node that has joined should know."""
    auth_key: AuthKey | None = None
    """The auth key that was created or revoked, as it is now."""
    policy: PolicyVersion | None = None
    """The policy as it is now, if the operation was about it."""
    records: tuple[DnsRecord, ...] = ()
    """The records that were added, or removed."""
    api_token: ApiToken | None = None
    """The API token that was created or revoked, as it is now."""
    lease: LeaseTerm | None = None
    """What is in the lease, if the operation was about one."""
    lease_version: int = 0
    is_written: bool = False
    """It is so because of this operation."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The operation was not carried out."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class Outdated(Refused):
    """What the operation is about has changed since its administrator looked."""


Result = Accepted | Refused

NAMING = (ApplyPolicy, Assign, AddPeer, CreateAuthKey, AddUser, DisableUser)
"""Operations that may name users and tags."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one committed transaction changed, or several in a row."""

    version: int
    nodes: tuple[Node, ...] = ()
    removed: tuple[str, ...] = ()
    """Public keys."""
    policy: ActivePolicy | None = None
    """The policy, if that has changed."""
    reclassed: int = 0
    """The version that last changed the class of a node that was there; 0: none did."""
    records: tuple[DnsRecord, ...] | None = None
    """All records of the zone, if any of them changed."""


def unwrapped(operation: Operation) -> Operation:
    """Return what is to be done, whoever wants it."""
    return operation.operation if isinstance(operation, Administered) else operation
