"""Service-account tokens: who a pod is, in the words of its cluster's issuer.

A token is a JWT (RFC 7519), signed by a key of the issuer. Kubelet asks the API server
for it and puts it into a volume of the pod. It is bound to the pod and to the node that
the pod runs on, and says so in the claim ``kubernetes.io``. Any pod can get one with
any audience for *its own* account, and says nothing false in it; so what counts is
which account it is of: only the agent's may join nodes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwk, jwt
from joserfc.errors import JoseError

from meshwg.errors import MeshError
from meshwg.wire.control import ErrorCode

AUDIENCE: Final = "meshwg"
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""Those of asymmetric keys that API servers sign with."""
LEEWAY: Final = 60.0
"""Seconds by which the API server's clock may be ahead of this one."""
MAX_NAME: Final = 253
"""Letters of a node's name (RFC 1123)."""
_MEND = "mount a projected volume with the audience meshwg, which kubelet renews"

Keys = jwk.KeySet


class ServiceTokenRefused(MeshError):
    """A token lets no node in.

    :ivar code: of the refusal.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class KeyUnknown(ServiceTokenRefused):
    """It is signed by a key that the issuer may have since a moment ago."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Which tokens let nodes in."""

    issuer: str
    namespace: str
    """Of the service account."""
    account: str
    """Its name."""


@dataclass(frozen=True, slots=True)
class PodClaims:
    """What a token says of the pod that has it."""

    node: str
    node_uid: str
    """Empty if it is not said."""
    pod: str


def load_keys(text: bytes) -> Keys:
    """Return the keys of an issuer, from a JWK Set (RFC 7517).

    :raises ValueError: if it is none.
    """
    try:
        raw = json.loads(text)
        keys = Keys.import_key_set(raw)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"It is no JWK Set: {error}") from None
    if not keys.keys:
        raise ValueError("The JWK Set is empty")
    return keys


def verify(token: str, keys: Keys, rules: TokenRules, unix_time: float) -> PodClaims:
    """Return what a token says, once it is certain that the issuer says so.

    :raises KeyUnknown: if none of the keys can have signed it.
    :raises ServiceTokenRefused: if it lets no node in for another reason.
    """
    claims = _decode(token, keys)
    if claims.get("iss") != rules.issuer:
        raise _refusal(
            "The service-account token is of another cluster than the one whose nodes "
            "may join: see --kubernetes-issuer of the coordinator"
        )
    if AUDIENCE not in _audiences(claims):
        raise _refusal(f"The service-account token is not for this use: {_MEND}")
    _check_times(claims, unix_time)
    return _pod(claims, rules)


def _decode(token: str, keys: Keys) -> Mapping[str, Any]:
    try:
        return jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        # Which key it is of shows only in a header that anybody could write.
        raise KeyUnknown(
            ErrorCode.TOKEN_UNKNOWN,
            "The service-account token is not signed by the issuer of the cluster "
            f"whose nodes may join ({type(error).__name__}): see --kubernetes-issuer "
            "of the coordinator",
        ) from None


def _check_times(claims: Mapping[str, Any], unix_time: float) -> None:
    expires, begins = _number(claims.get("exp")), _number(claims.get("nbf", 0.0))
    if expires is None or begins is None:
        raise _refusal(f"The service-account token does not end: {_MEND}")
    if unix_time >= expires:
        raise ServiceTokenRefused(
            ErrorCode.TOKEN_EXPIRED, f"The service-account token has expired: {_MEND}"
        )
    if unix_time < begins - LEEWAY:
        raise ServiceTokenRefused(
            ErrorCode.TOKEN_EXPIRED,
            "The service-account token is not valid yet: set the clocks of the API "
            "server and of the coordinator",
        )


def _pod(claims: Mapping[str, Any], rules: TokenRules) -> PodClaims:
    said = claims.get("kubernetes.io")
    account = _text(said, "serviceaccount", "name")
    subject = f"system:serviceaccount:{rules.namespace}:{rules.account}"
    is_wanted = (_text(said, "namespace"), account) == (rules.namespace, rules.account)
    if not is_wanted or claims.get("sub") != subject:
        raise _refusal(
            f"Only the service account {rules.namespace}/{rules.account} may join "
            "nodes: see --kubernetes-account of the coordinator"
        )
    node, pod = _text(said, "node", "name"), _text(said, "pod", "name")
    if not node or not pod or len(node) > MAX_NAME:
        raise _refusal(
            "The service-account token is bound to no node: use that of a projected "
            "volume, of Kubernetes 1.32 or later"
        )
    return PodClaims(node, _text(said, "node", "uid"), pod)


def _refusal(text: str) -> ServiceTokenRefused:
    return ServiceTokenRefused(ErrorCode.TOKEN_UNKNOWN, text)


def _audiences(claims: Mapping[str, Any]) -> list[Any]:
    said = claims.get("aud")
    return said if isinstance(said, list) else [said]


def _text(value: Any, *path: str) -> str:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
