"""Which service-account tokens let a node in, and in which words others do not."""

import base64
import json
from typing import Any

import pytest

from coordinator.kubernetes.servicetokens import (
    KeyUnknown,
    PodClaims,
    ServiceTokenRefused,
    load_keys,
    verify,
)
from meshwg.wire.control import ErrorCode
from tests.coordinator.kubernetes.issuer import NOW, RULES, Issuer, claims_of

RSA, EC = Issuer(), Issuer("two", "EC")


@pytest.mark.parametrize("issuer", [RSA, EC])
def test_a_token_says_which_node_its_pod_is_on(issuer: Issuer) -> None:
    claims = verify(issuer.token(), issuer.keys, RULES, NOW)
    assert claims == PodClaims("n1", "u1", "meshwg-agent-x")


def test_one_of_several_keys_is_enough() -> None:
    both = json.loads(RSA.jwks)["keys"] + json.loads(EC.jwks)["keys"]
    keys = load_keys(json.dumps({"keys": both}).encode())
    for issuer in (RSA, EC):
        assert verify(issuer.token(), keys, RULES, NOW).node == "n1"


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"iss": "https://evil.test"}, ErrorCode.TOKEN_UNKNOWN, "another cluster"),
        ({"aud": ["https://api"]}, ErrorCode.TOKEN_UNKNOWN, "not for this use"),
        ({"aud": None}, ErrorCode.TOKEN_UNKNOWN, "not for this use"),
        ({"exp": NOW}, ErrorCode.TOKEN_EXPIRED, "has expired"),
        ({"exp": None}, ErrorCode.TOKEN_UNKNOWN, "does not end"),
        ({"nbf": NOW + 120}, ErrorCode.TOKEN_EXPIRED, "not valid yet"),
        ({"kubernetes.io": None}, ErrorCode.TOKEN_UNKNOWN, "Only the service account"),
        (
            {"sub": "system:node:n1"},
            ErrorCode.TOKEN_UNKNOWN,
            "Only the service account",
        ),
        (
            claims_of(account="default"),
            ErrorCode.TOKEN_UNKNOWN,
            "meshwg-agent may join",
        ),
        (claims_of(namespace="evil"), ErrorCode.TOKEN_UNKNOWN, "kube-system/meshwg"),
        (claims_of(node=""), ErrorCode.TOKEN_UNKNOWN, "bound to no node"),
        (claims_of(node="n" * 300), ErrorCode.TOKEN_UNKNOWN, "bound to no node"),
    ],
)
def test_what_another_token_is_refused_for_is_said_with_the_mend(
    changes: dict[str, Any], code: ErrorCode, named: str
) -> None:
    with pytest.raises(ServiceTokenRefused, match=named) as refused:
        verify(RSA.token(**changes), RSA.keys, RULES, NOW)
    assert refused.value.code is code
    assert ": " in str(refused.value)


def test_clocks_may_differ_a_little() -> None:
    assert verify(RSA.token(nbf=NOW + 30), RSA.keys, RULES, NOW).node == "n1"


def test_an_audience_need_not_be_a_list() -> None:
    assert verify(RSA.token(aud="meshwg"), RSA.keys, RULES, NOW).node == "n1"


@pytest.mark.parametrize(
    "token",
    [
        Issuer().token(),
        EC.token(),
        "",
        "x",
        "a.b.c",
        "....",
        RSA.token()[:-20],
        RSA.token()[:-8] + "AAAAAAAA",
        "é" * 50,
        "{}" * 4000,
    ],
)
def test_what_the_issuer_has_not_signed_is_refused(token: str) -> None:
    with pytest.raises(KeyUnknown, match="is not signed by the issuer"):
        verify(token, RSA.keys, RULES, NOW)


def test_a_public_key_is_no_secret_that_others_could_sign_with() -> None:
    def part(raw: dict[str, Any]) -> str:
        text = base64.urlsafe_b64encode(json.dumps(raw).encode())
        return text.rstrip(b"=").decode()

    for algorithm in ("none", "HS256"):
        header = part({"alg": algorithm, "kid": "one"})
        forged = f"{header}.{part(claims_of())}."
        with pytest.raises(KeyUnknown):
            verify(forged, RSA.keys, RULES, NOW)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"keys": []}', b"\xff", b'{"keys": [1]}']
)
def test_what_is_no_key_set_is_not_read(text: bytes) -> None:
    with pytest.raises(ValueError, match="JWK Set"):
        load_keys(text)
