"""Single values of control messages."""

from dataclasses import dataclass

import pytest

from meshwg.schema import Malformed, read
from meshwg.wire.fields import Address, Domain, Prefix, PublicKey, Sentence, Word

KEY = "A" * 43 + "="


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One value of each kind."""

    key: PublicKey = KEY
    address: Address = "::1"
    prefix: Prefix = "10.0.0.0/8"
    word: Word = "hub"
    text: Sentence = ""
    domain: Domain = ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "short"),
        ("address", "fe80::1%lo"),
        ("address", "host"),
        ("prefix", "10.0.0.1/8"),
        ("prefix", "2001:db8::%1/64"),
        ("word", "Boss!"),
        ("text", "x" * 513),
    ],
)
def test_what_is_none_is_refused(field: str, value: str) -> None:
    with pytest.raises(Malformed):
        read(Values, {field: value})


def test_addresses_and_networks_are_in_their_usual_form() -> None:
    values = read(Values, {"address": "2001:DB8::0", "prefix": "2001:DB8::0/32"})

    assert values.address == "2001:db8::"
    assert values.prefix == "2001:db8::/32"


def test_a_sentence_moves_no_cursor() -> None:
    assert read(Values, {"text": "a\x1b[2Jb\n"}).text == "a [2Jb "


def test_a_domain_that_is_none_is_nothing() -> None:
    assert read(Values, {"domain": "Mesh.Internal"}).domain == "mesh.internal"
    assert read(Values, {"domain": "not a domain"}).domain == ""
