"""All that can be asked of the administration, in one table."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel

from coordinator.administration import (
    models,
    names,
    nodes,
    overview,
    peers,
    policies,
    tokens,
    users,
)
from coordinator.administration.asking import Answer, Asked
from coordinator.administration.rights import Scope

EndpointHandler = Callable[[Asked], Awaitable[Answer]]
PLACEHOLDER: Final = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked."""

    name: str
    """By which the command line asks, and OpenAPI's ``operationId``."""
    method: str
    path: str
    """With placeholders in braces."""
    scope: Scope | None
    """What one must be allowed to do; ``None``: who may ask anything may ask this."""
    handler: EndpointHandler
    answer: type[BaseModel]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    takes_text: bool = False
    """Whether the body is a text, in place of JSON."""
    status: int = 200
    has_etag: bool = False
    """Whether answers have an entity tag, by which If-Match may be said."""

    @property
    def placeholders(self) -> list[str]:
        """The names in the path, in order."""
        return PLACEHOLDER.findall(self.path)

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return " ".join((self.handler.__doc__ or "").split())

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.scope is not None and self.scope.endswith(":write")


def _named(*endpoints: Endpoint) -> Mapping[str, Endpoint]:
    return MappingProxyType({each.name: each for each in endpoints})


ENDPOINTS: Final[Mapping[str, Endpoint]] = _named(
    Endpoint(
        "list-nodes",
        "GET",
        "/v1/nodes",
        Scope.NODES_READ,
        nodes.list_nodes,
        models.NodesAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "show-node",
        "GET",
        "/v1/nodes/{node}",
        Scope.NODES_READ,
        nodes.show_node,
        models.NodeAnswer,
        has_etag=True,
    ),
    Endpoint(
        "change-node",
        "PATCH",
        "/v1/nodes/{node}",
        Scope.NODES_WRITE,
        nodes.change_node,
        models.NodeAnswer,
        body=models.NodeChange,
        has_etag=True,
    ),
    Endpoint(
        "expire-node",
        "POST",
        "/v1/nodes/{node}/expire",
        Scope.NODES_WRITE,
        nodes.expire_node,
        models.NodeAnswer,
        has_etag=True,
    ),
    Endpoint(
        "remove-node",
        "DELETE",
        "/v1/nodes/{node}",
        Scope.NODES_WRITE,
        nodes.remove_node,
        models.NodeAnswer,
        has_etag=True,
    ),
    Endpoint(
        "list-tokens",
        "GET",
        "/v1/tokens",
        Scope.TOKENS_READ,
        tokens.list_tokens,
        models.TokensAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "create-token",
        "POST",
        "/v1/tokens",
        Scope.TOKENS_WRITE,
        tokens.create_token,
        models.NewTokenAnswer,
        body=models.NewToken,
        status=201,
    ),
    Endpoint(
        "show-token",
        "GET",
        "/v1/tokens/{number}",
        Scope.TOKENS_READ,
        tokens.show_token,
        models.TokenAnswer,
        has_etag=True,
    ),
    Endpoint(
        "revoke-token",
        "DELETE",
        "/v1/tokens/{number}",
        Scope.TOKENS_WRITE,
        tokens.revoke_token,
        models.TokenAnswer,
        has_etag=True,
    ),
    Endpoint(
        "list-api-tokens",
        "GET",
        "/v1/api-tokens",
        Scope.API_TOKENS_READ,
        tokens.list_api_tokens,
        models.ApiTokensAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "create-api-token",
        "POST",
        "/v1/api-tokens",
        Scope.API_TOKENS_WRITE,
        tokens.create_api_token,
        models.NewApiTokenAnswer,
        body=models.NewApiToken,
        status=201,
    ),
    Endpoint(
        "revoke-api-token",
        "DELETE",
        "/v1/api-tokens/{number}",
        Scope.API_TOKENS_WRITE,
        tokens.revoke_api_token,
        models.ApiTokenAnswer,
        has_etag=True,
    ),
    Endpoint(
        "list-users",
        "GET",
        "/v1/users",
        Scope.USERS_READ,
        users.list_users,
        models.UsersAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "show-user",
        "GET",
        "/v1/users/{user}",
        Scope.USERS_READ,
        users.show_user,
        models.UserAnswer,
        has_etag=True,
    ),
    Endpoint(
        "add-user",
        "PUT",
        "/v1/users/{user}",
        Scope.USERS_WRITE,
        users.add_user,
        models.UserAnswer,
        has_etag=True,
    ),
    Endpoint(
        "disable-user",
        "DELETE",
        "/v1/users/{user}",
        Scope.USERS_WRITE,
        users.disable_user,
        models.UserAnswer,
        has_etag=True,
    ),
    Endpoint(
        "list-routes",
        "GET",
        "/v1/routes",
        Scope.ROUTES_READ,
        nodes.list_routes,
        models.RoutesAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "approve-route",
        "POST",
        "/v1/routes/approve",
        Scope.ROUTES_WRITE,
        nodes.approve_route,
        models.RouteAnswer,
        body=models.RouteChoice,
        has_etag=True,
    ),
    Endpoint(
        "refuse-route",
        "POST",
        "/v1/routes/refuse",
        Scope.ROUTES_WRITE,
        nodes.refuse_route,
        models.RouteAnswer,
        body=models.RouteChoice,
        has_etag=True,
    ),
    Endpoint(
        "show-policy",
        "GET",
        "/v1/policy",
        Scope.POLICY_READ,
        policies.show_policy,
        models.PolicyAnswer,
        has_etag=True,
    ),
    Endpoint(
        "apply-policy",
        "PUT",
        "/v1/policy",
        Scope.POLICY_WRITE,
        policies.apply_policy,
        models.AppliedAnswer,
        query=models.PolicyQuery,
        takes_text=True,
        has_etag=True,
    ),
    Endpoint(
        "check-policy",
        "POST",
        "/v1/policy/check",
        Scope.POLICY_READ,
        policies.check_policy,
        models.CheckAnswer,
        takes_text=True,
    ),
    Endpoint(
        "diff-policy",
        "POST",
        "/v1/policy/diff",
        Scope.POLICY_READ,
        policies.diff_policy,
        models.DiffAnswer,
        takes_text=True,
    ),
    Endpoint(
        "explain-policy",
        "GET",
        "/v1/policy/explain",
        Scope.POLICY_READ,
        policies.explain_policy,
        models.ExplainAnswer,
        query=models.ExplainQuery,
    ),
    Endpoint(
        "list-policy-versions",
        "GET",
        "/v1/policy/history",
        Scope.POLICY_READ,
        policies.list_versions,
        models.VersionsAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "show-policy-version",
        "GET",
        "/v1/policy/history/{version}",
        Scope.POLICY_READ,
        policies.show_version,
        models.PolicyAnswer,
    ),
    Endpoint(
        "list-records",
        "GET",
        "/v1/dns",
        Scope.NAMES_READ,
        names.list_records,
        models.RecordsAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "add-record",
        "POST",
        "/v1/dns",
        Scope.NAMES_WRITE,
        names.add_record,
        models.RecordsAnswer,
        body=models.NewRecord,
        status=201,
    ),
    Endpoint(
        "remove-records",
        "DELETE",
        "/v1/dns/{name}",
        Scope.NAMES_WRITE,
        names.remove_records,
        models.RecordsAnswer,
        query=models.RecordQuery,
    ),
    Endpoint(
        "list-peers",
        "GET",
        "/v1/peers",
        Scope.PEERS_READ,
        peers.list_peers,
        models.PeersAnswer,
        query=models.PageQuery,
    ),
    Endpoint(
        "add-peer",
        "POST",
        "/v1/peers",
        Scope.PEERS_WRITE,
        peers.add_peer,
        models.NewPeerAnswer,
        body=models.NewPeer,
        status=201,
    ),
    Endpoint(
        "show-peer",
        "GET",
        "/v1/peers/{peer}",
        Scope.PEERS_READ,
        peers.show_peer,
        models.PeerConfigAnswer,
        has_etag=True,
    ),
    Endpoint(
        "remove-peer",
        "DELETE",
        "/v1/peers/{peer}",
        Scope.PEERS_WRITE,
        peers.remove_peer,
        models.PeerAnswer,
        has_etag=True,
    ),
    Endpoint(
        "show-audit",
        "GET",
        "/v1/audit",
        Scope.AUDIT_READ,
        overview.show_audit,
        models.AuditAnswer,
        query=models.AuditQuery,
    ),
    Endpoint(
        "verify-audit",
        "GET",
        "/v1/audit/verify",
        Scope.AUDIT_READ,
        overview.verify_audit,
        models.ChainAnswer,
    ),
    Endpoint(
        "list-relays",
        "GET",
        "/v1/relays",
        Scope.RELAYS_READ,
        overview.list_relays,
        models.RelaysAnswer,
    ),
    Endpoint(
        "show-self",
        "GET",
        "/v1/self",
        None,
        overview.show_self,
        models.SelfAnswer,
    ),
)
"""By name."""
