"""What the administration takes and answers: the schemas of its OpenAPI document.

What is sent is read by these models and no other rule of form. Answers are made by
:mod:`coordinator.mesh.records`; that they are as described here, tests find out.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from coordinator.administration.pages import MAX_CURSOR, MAX_LIMIT
from coordinator.administration.rights import Role, Scope
from coordinator.mesh.apitokens import MAX_TOKEN_NAME
from coordinator.mesh.authkeys import DEFAULT_LIFETIME, MAX_USES

API_TOKEN_LIFETIME = "90d"
MAX_ROW = 2**31 - 1
"""The last number that a database has for a row of the audit log, or for a version."""
MAX_WORD = 300
"""Letters of a name, a network, a port or an address: more than any has."""
MAX_LISTED_TAGS = 100
MAX_LINE = 2000
"""Letters of a comment, or of a record of the zone: as much, and a sentence says that
less is possible."""

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""No database, terminal or log has to hold control characters."""

Word = Annotated[str, Field(max_length=MAX_WORD, pattern=PRINTABLE)]
Line = Annotated[str, Field(max_length=MAX_LINE, pattern=PRINTABLE)]
Tags = Annotated[tuple[Word, ...], Field(max_length=MAX_LISTED_TAGS)]
Time = Annotated[float, Field(description="Unix time in seconds")]


class Sent(BaseModel):
    """Something that is sent here. What is not described is ignored."""

    model_config = ConfigDict(frozen=True, strict=True, defer_build=True)


class Asking(BaseModel):
    """The query of a request, whose values are texts."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Told(BaseModel):
    """Something that is answered."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Wrapped(Told):
    """A whole answer."""

    schema_: Literal[1] = Field(alias="schema")


class Paged(Wrapped):
    """One page of a list, or all of it."""

    next: str | None = Field(
        default=None, description="The cursor of the next page, where pages are asked."
    )


# What is sent.


class PageQuery(Asking):
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | None = None
    cursor: Annotated[str, Field(max_length=MAX_CURSOR)] | None = None


class AuditQuery(PageQuery):
    after: Annotated[int, Field(ge=0, le=MAX_ROW)] = 0
    since: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class RecordQuery(Asking):
    type: Word | None = None
    value: Line | None = None


class PolicyQuery(Asking):
    comment: Line = ""


class ExplainQuery(Asking):
    source: Word = Field(alias="from")
    destination: Word = Field(alias="to")
    port: Word = "icmp"


class NodeChange(Sent):
    """Another name, or another owner and other tags."""

    name: Word | None = None
    owner: Word | None = None
    tags: Tags | None = None


class NewToken(Sent):
    reusable: bool = False
    uses: Annotated[int, Field(ge=1, le=MAX_USES)] | None = None
    ephemeral: bool = False
    hub: bool = False
    expires: Word = DEFAULT_LIFETIME
    owner: Word | None = None
    tags: Tags | None = None
    url: Word | None = None


class NewApiToken(Sent):
    name: Annotated[str, Field(max_length=MAX_TOKEN_NAME, pattern=PRINTABLE)] = ""
    role: Word | None = Field(
        default=None, json_schema_extra={"enum": [*(each.value for each in Role), None]}
    )
    scopes: Annotated[tuple[Word, ...], Field(max_length=len(Scope))] = ()
    expires: Word = API_TOKEN_LIFETIME


class NewRecord(Sent):
    name: Line
    type: Word
    value: Line


class NewPeer(Sent):
    name: Annotated[Word, Field(min_length=1)]
    hub: Word | None = None
    full_tunnel: bool = False
    public_key: Word | None = None
    endpoint: Word | None = None
    owner: Word | None = None
    tags: Tags | None = None


class RouteChoice(Sent):
    node: Word
    prefix: Word


# What is answered.


class ProblemTold(Told):
    """RFC 9457, and the sentence once more as ``error``."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str


class ItemWaiting(Told):
    item: str
    state: str
    reason: str


class NodeTold(Told):
    name: str
    public_key: str
    addresses: list[str]
    online: bool
    role: str
    routes: list[str]
    announced: list[str]
    exit: bool
    waiting: list[ItemWaiting]
    ephemeral: bool
    expired: bool
    joined: Time
    seen: Time
    token: str | None
    owner: str | None
    tags: list[str]


class TokenTold(Told):
    id: str
    state: Literal["valid", "used", "expired", "revoked"]
    reusable: bool
    ephemeral: bool
    created: Time
    expires: Time
    uses: int
    max_uses: int | None
    used: Time | None
    owner: str | None
    tags: list[str]
    hub: bool


class ApiTokenTold(Told):
    id: str
    name: str
    state: Literal["valid", "expired", "revoked"]
    role: str | None
    scopes: list[str]
    created: Time
    expires: Time
    by: str


class UserTold(Told):
    name: str
    added: Time
    disabled: bool


class RouteTold(Told):
    node: str
    public_key: str
    prefix: str
    state: str
    reason: str
    online: bool
    priority: int
    real: str | None
    by: str | None
    at: Time | None


class PolicyTold(Told):
    version: int
    sha256: str
    author: str
    at: Time
    comment: str


class PolicyWithText(PolicyTold):
    text: str


class DifferenceTold(Told):
    from_: list[str] = Field(alias="from")
    to: list[str]
    gained: list[str]
    lost: list[str]


class CutTold(Told):
    from_: str = Field(alias="from")
    to: str
    port: str
    at: Time


class RuleTold(Told):
    line: int
    rule: str
    note: str
    missing: str | None


class RecordTold(Told):
    name: str
    full_name: str
    type: str
    value: str


class PeerTold(Told):
    name: str
    public_key: str
    addresses: list[str]
    hub: str | None
    owner: str | None
    tags: list[str]
    full_tunnel: bool
    endpoint: str | None
    expired: bool
    added: Time


class AuditTold(Wrapped):
    seq: int
    at: Time
    actor: str
    address: str
    action: str
    target: str
    before: object
    after: object
    hash: str


class RelayTold(Told):
    url: str
    own: bool = Field(description="Whether it is in the coordinator's own process.")


class NodesAnswer(Paged):
    nodes: list[NodeTold]


class NodeAnswer(Wrapped):
    node: NodeTold


class TokensAnswer(Paged):
    tokens: list[TokenTold]


class TokenAnswer(Wrapped, TokenTold):
    pass


class NewTokenAnswer(TokenAnswer):
    token: str = Field(description="The token in clear, which is never shown again.")


class ApiTokensAnswer(Paged):
    api_tokens: list[ApiTokenTold]


class ApiTokenAnswer(Wrapped, ApiTokenTold):
    pass


class NewApiTokenAnswer(ApiTokenAnswer):
    token: str = Field(description="The token in clear, which is never shown again.")


class UsersAnswer(Paged):
    users: list[UserTold]


class UserAnswer(Wrapped):
    user: UserTold


class RoutesAnswer(Paged):
    routes: list[RouteTold]


class RouteAnswer(Wrapped):
    route: RouteTold


class PolicyAnswer(Wrapped):
    policy: PolicyWithText | None


class AppliedAnswer(Wrapped):
    policy: PolicyTold


class VersionsAnswer(Paged):
    versions: list[PolicyTold]


class CheckAnswer(Wrapped):
    rules: int
    tests: int


class DiffAnswer(Wrapped):
    differences: list[DifferenceTold]
    cut: list[CutTold] | None


class ExplainAnswer(Wrapped):
    verdict: Literal["allowed", "denied"]
    version: int
    rules: list[RuleTold]


class RecordsAnswer(Paged):
    domain: str
    records: list[RecordTold]


class PeersAnswer(Paged):
    peers: list[PeerTold]


class PeerAnswer(Wrapped):
    peer: PeerTold


class PeerConfigAnswer(PeerAnswer):
    config: str
    qr: str


class NewPeerAnswer(PeerConfigAnswer):
    url: str | None


class AuditAnswer(Paged):
    rows: list[AuditTold]


class ChainAnswer(Wrapped):
    rows: int
    last_hash: str | None
    broken: int | None = Field(description="The first row that is not what it was.")


class RelaysAnswer(Wrapped):
    relays: list[RelayTold]


class SelfAnswer(Wrapped):
    identity: str
    role: str | None
    scopes: list[str]
