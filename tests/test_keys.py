"""Keys: their text form, and the exchange of RFC 7748."""

import pytest

from meshwg.keys import PrivateKey, clamp, format_key, parse_key


def test_a_key_survives_its_text_form() -> None:
    assert parse_key(format_key(bytes(range(32)))) == bytes(range(32))


@pytest.mark.parametrize("text", ["", "short", "A" * 43, "é" * 44, "!" * 44])
def test_an_invalid_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="44 characters of base64") as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)


def test_the_exchange_of_rfc_7748_section_6_1_is_reproduced() -> None:
    alice = PrivateKey.from_bytes(
        bytes.fromhex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
        )
    )
    bob_public = bytes.fromhex(
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    exchanged = alice.exchange(bob_public)
    assert exchanged is not None
    assert exchanged.hex() == shared


def test_a_low_order_point_has_no_shared_secret() -> None:
    assert PrivateKey.from_bytes(bytes([7]) * 32).exchange(bytes(32)) is None


def test_a_scalar_is_clamped() -> None:
    assert clamp(b"\xff" * 32) == b"\xf8" + b"\xff" * 30 + b"\x7f"
