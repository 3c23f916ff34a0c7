"""An issuer of service-account tokens, and what API servers put into these."""

import json
from typing import Any

from joserfc import jwk, jwt

from coordinator.kubernetes.servicetokens import Keys, TokenRules, load_keys

ISSUER = "https://kubernetes.default.svc"
RULES = TokenRules(ISSUER, "kube-system", "meshwg-agent")
NOW = 1_800_000_000.0


class Issuer:
    """A key, and the tokens that it signs.

    :param kind: of the key: ``RSA`` or ``EC``.
    """

    def __init__(self, kid: str = "one", kind: str = "RSA") -> None:
        self._key: Any
        if kind == "RSA":
            self._key = jwk.RSAKey.generate_key(2048, {"kid": kid})
        else:
            self._key = jwk.ECKey.generate_key("P-256", {"kid": kid})
        self._header = {"alg": "RS256" if kind == "RSA" else "ES256", "kid": kid}

    @property
    def jwks(self) -> bytes:
        """The JWK Set, as an API server serves it."""
        public = self._key.as_dict(private=False)
        return json.dumps({"keys": [{**public, "use": "sig"}]}).encode()

    @property
    def keys(self) -> Keys:
        return load_keys(self.jwks)

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a token that says so."""
        return str(jwt.encode(dict(self._header), claims, self._key))

    def token(self, node: str = "n1", **changes: Any) -> str:
        """Return the token of an agent's pod."""
        return self.sign({**claims_of(node), **changes})


def claims_of(
    node: str = "n1",
    uid: str = "u1",
    *,
    namespace: str = "kube-system",
    account: str = "meshwg-agent",
) -> dict[str, Any]:
    """Return what a token of a projected volume says."""
    return {
        "aud": ["meshwg"],
        "exp": NOW + 3600,
        "iat": NOW,
        "nbf": NOW,
        "iss": ISSUER,
        "jti": "4d6a5a0c",
        "sub": f"system:serviceaccount:{namespace}:{account}",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": node, "uid": uid},
            "pod": {"name": "meshwg-agent-x", "uid": "p1"},
            "serviceaccount": {"name": account, "uid": "s1"},
            "warnafter": NOW + 3607,
        },
    }
