"""The policy that a mesh has, its versions, and who is a user."""

import hashlib
from dataclasses import dataclass

from coordinator.policy.compile import Policy
from coordinator.policy.document import Document, PolicyError, parse_policy
from coordinator.policy.names import known_groups

MAX_COMMENT = 200
MAX_USER = 255


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy as it was applied. Times are Unix times."""

    version: int
    text: str
    sha256: str
    author: str
    at: float
    comment: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom policies may name, and to whom nodes belong."""

    name: str
    added: float
    disabled: bool = False


class ActivePolicy:
    """The policy that is in force.

    Names were checked when it was applied. Whoever is gone since then is nobody, so it
    can always be used; a text that cannot be read allows nothing.

    :param document: what its text says, if that was read already: to read a megabyte
        takes half a second.
    :ivar record: what was applied.
    :ivar policy: what it says.
    :ivar problem: why its text cannot be used, empty if it can.
    """

    def __init__(self, record: PolicyVersion, document: Document | None = None) -> None:
        self.record = record
        self.problem = ""
        try:
            document = document or parse_policy(record.text)
        except PolicyError as error:
            document, self.problem = Document(), str(error)
        self.policy = Policy(document, known_groups(document))


def make_version(
    number: int, text: str, author: str, at: float, comment: str = ""
) -> PolicyVersion:
    """Return a version of the policy, to be applied."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return PolicyVersion(number, text, digest, author, at, comment[:MAX_COMMENT])
