"""Sums and checksums, against the arithmetic of RFC 1071."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet.ip import checksum, payload_summer, pseudo_sum, word_sum
from tests.packet.samples import Packet, internet_checksum


@given(st.binary(max_size=300))
def test_a_sum_gives_the_checksum_of_the_rfc(data: bytes) -> None:
    expected = internet_checksum(data)
    # Nothing but zeros has the sum zero; 65535 and 0 are the same number otherwise.
    assert checksum(word_sum(data)) == (expected if any(data) else 0)


@given(st.binary(max_size=3000))
def test_the_sum_function_for_a_length_agrees(data: bytes) -> None:
    assert payload_summer(len(data))(data) % 65535 == word_sum(data)


def test_the_extremes_of_a_length_agree() -> None:
    for length in (0, 1, 2, 3, 1368, 1367, 65535):
        for data in (bytes(length), b"\xff" * length):
            assert payload_summer(length)(data) % 65535 == word_sum(data)


def test_a_field_with_the_checksum_makes_the_sum_zero() -> None:
    for data in (b"\x12\x34\x56\x78", b"\xff\xff", b"\xff\xfe\x00\x01"):
        field = checksum(word_sum(data)).to_bytes(2, "big")
        assert internet_checksum(data + field) == 0


def test_the_pseudo_header_is_summed_for_both_families() -> None:
    for version in (4, 6):
        packet = Packet(b"data", version=version)
        expected = internet_checksum(packet.pseudo_header(36))
        assert checksum(pseudo_sum(bytes(packet), 6, 36)) == expected
