"""API tokens in clear, and what is kept of them."""

import random
from dataclasses import replace

import pytest

from coordinator.mesh.apitokens import (
    ApiToken,
    ApiTokenText,
    is_api_token_number,
    opens,
)

TEXT = ApiTokenText.generate(random.Random(1).randbytes)
TOKEN = ApiToken(TEXT.number, "x", TEXT.digest, "", (), 0.0, 100.0, "carol")


def test_a_token_comes_back_from_its_text() -> None:
    assert ApiTokenText.parse(str(TEXT)) == TEXT
    assert str(TEXT).startswith("mwa1-")
    assert TEXT.secret.hex() not in repr(TEXT)


@pytest.mark.parametrize(
    "text",
    ["", "mwa1-", "x", str(TEXT)[:-1], str(TEXT) + "0", f" {TEXT}", str(TEXT).upper()],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="begins with mwa1-"):
        ApiTokenText.parse(text)


def test_a_token_opens_until_it_expires_or_is_revoked() -> None:
    assert opens(TOKEN, TEXT, 99.0)
    assert not opens(TOKEN, TEXT, 100.0)
    assert not opens(replace(TOKEN, revoked=True), TEXT, 99.0)
    assert [
        TOKEN.state(99.0),
        TOKEN.state(100.0),
        replace(TOKEN, revoked=True).state(100.0),
    ] == ["valid", "expired", "revoked"]


def test_another_secret_opens_nothing() -> None:
    other = ApiTokenText(TEXT.number, bytes(20))
    assert not opens(TOKEN, other, 1.0)


def test_a_number_is_twelve_digits() -> None:
    assert is_api_token_number(TEXT.number)
    for wrong in ("", "x" * 12, TEXT.number + "0", TEXT.number.upper() + "\n"):
        assert not is_api_token_number(wrong)
