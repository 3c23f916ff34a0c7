"""The policy and the users, as a transaction is about to leave them."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from types import MappingProxyType

from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import (
    Accepted,
    AddUser,
    ApplyPolicy,
    DisableUser,
    Refused,
    Result,
)
from coordinator.mesh.policies import (
    MAX_USER,
    ActivePolicy,
    PolicyVersion,
    User,
    make_version,
)
from coordinator.policy.document import PolicyError, is_name, is_user
from coordinator.policy.load import load_policy
from coordinator.policy.names import Inventory
from meshwg.wire.control import ErrorCode

NO_USERS: Mapping[str, User] = MappingProxyType({})


class Access:
    """Decides on the policy, on users, and on what tokens give to nodes.

    :param current: the policy that is in force.
    :param users: as the database has them, by name.
    :param token_tags: the tags of auth keys, which policies may name.
    """

    def __init__(
        self,
        members: DraftedMembers,
        current: ActivePolicy | None,
        users: Mapping[str, User],
        token_tags: frozenset[str],
        *,
        unix_time: float,
    ) -> None:
        self._members = members
        self._current = current
        self._known = dict(users)
        self._token_tags = token_tags
        self._unix_time = unix_time
        self.changed: ActivePolicy | None = None
        """The new policy."""
        self.users: dict[str, User] = {}
        """Changed users by name."""

    @property
    def policy(self) -> PolicyVersion | None:
        """The policy as it is now."""
        active = self.changed or self._current
        return None if active is None else active.record

    def user(self, name: str) -> User | None:
        """Return a user, as he is now."""
        return self._known.get(name)

    def apply(self, apply: ApplyPolicy) -> Result:
        """Have another policy, if that is right in all."""
        nodes = [node for node in self._members.all() if not node.expired]
        networks = self._members.networks
        inventory = inventory_of(nodes, self._known, self._token_tags, networks)
        try:
            subjects = [node.subject for node in nodes]
            policy = load_policy(apply.text, inventory, subjects)
        except PolicyError as error:
            return Refused(ErrorCode.MALFORMED, str(error))
        before = self.policy
        number = 1 if before is None else before.version + 1
        record = make_version(
            number, apply.text, apply.author, self._unix_time, apply.comment
        )
        if before is not None and before.sha256 == record.sha256:
            return Accepted(policy=before)
        self.changed = ActivePolicy(record, policy.document)
        self._members.policy = self.changed.policy
        for node in self._members.all():
            self._members.put(node)
        return Accepted(policy=record)

    def refusal(self, owner: str, tags: Iterable[str]) -> Refused | None:
        """Return why no node can have this owner and these tags."""
        user = self._known.get(owner)
        if owner and (user is None or user.disabled):
            return _unknown_user(owner)
        for tag in tags:
            if not is_name(tag):
                return Refused(
                    ErrorCode.MALFORMED,
                    f"{tag!r} is no tag: use small letters, digits and -",
                )
            policy = self._members.policy
            if owner and policy is not None and not policy.may_put(tag, owner):
                return Refused(
                    ErrorCode.MALFORMED,
                    f"The tag {tag} is not {owner}'s to give: leave --owner out, "
                    "or change [tag-owners] in the policy",
                )
        return None

    def add_user(self, add: AddUser) -> Result:
        """Know a user, or enable him again."""
        if not is_user(add.name) or len(add.name) > MAX_USER:
            return Refused(
                ErrorCode.MALFORMED,
                f"{add.name!r} is no name of a user: write it without spaces, colons "
                "and slashes, as alice@example.org",
            )
        known = self._known.get(add.name)
        added = self._unix_time if known is None else known.added
        self._put(User(add.name, added))
        return Accepted()

    def disable_user(self, disable: DisableUser) -> Result:
        """Know a user no more."""
        known = self._known.get(disable.name)
        if known is None:
            return _unknown_user(disable.name)
        self._put(User(known.name, known.added, disabled=True))
        return Accepted()

    def _put(self, user: User) -> None:
        self._known[user.name] = self.users[user.name] = user


def inventory_of(
    nodes: Sequence[Node],
    users: Mapping[str, User],
    token_tags: frozenset[str],
    networks: Networks,
) -> Inventory:
    """Return what a policy may name."""
    return Inventory(
        frozenset(each.name for each in users.values() if not each.disabled),
        token_tags.union(tag for node in nodes for tag in node.tags),
        frozenset(node.name for node in nodes),
        networks=tuple(map(ip_network, networks.prefixes)),
    )


def _unknown_user(name: str) -> Refused:
    return Refused(
        ErrorCode.UNKNOWN_PEER,
        f"There is no user {name}; 'meshwg-coordinator user add {name}' adds one",
    )
