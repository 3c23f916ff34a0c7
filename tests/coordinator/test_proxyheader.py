"""Headers of the PROXY protocol, whole, in parts, and made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.proxyheader import (
    LINE_LIMIT,
    MAX_ADDRESSES,
    SIGNATURE,
    ProxyHeader,
    read_header,
)
from meshwg.errors import InvalidMessage

LINE4 = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n"
LINE6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n"
# As in the examples of the specification: command and version, family, length.
BINARY4 = SIGNATURE + bytes.fromhex("2111000c cb007107 c0000201 9c40 01bb")
ADDRESSES6 = "20010db8000000000000000000000007 20010db8000000000000000000000001"
BINARY6 = SIGNATURE + bytes.fromhex(f"21210024 {ADDRESSES6} 9c40 01bb")


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (LINE4, ("203.0.113.7", 40000)),
        (LINE6, ("2001:db8::7", 40000)),
        (BINARY4, ("203.0.113.7", 40000)),
        (BINARY6, ("2001:db8::7", 40000)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        # A health check of the proxy itself, and a client at a Unix socket.
        (SIGNATURE + bytes.fromhex("20000000"), None),
        (SIGNATURE + bytes.fromhex("2131000401020304"), None),
    ],
)
def test_a_header_says_who_connected(
    header: bytes, source: tuple[str, int] | None
) -> None:
    assert read_header(header + b"GET /") == ProxyHeader(source, len(header))
    for length in range(1, len(header)):
        assert read_header(header[:length]) is None


def test_what_a_proxy_adds_is_passed_over() -> None:
    added = bytes.fromhex("0400020000")
    header = SIGNATURE + bytes.fromhex("21110011") + BINARY4[16:] + added

    assert read_header(header + b"\x16") == ProxyHeader(
        ("203.0.113.7", 40000), len(header)
    )


@pytest.mark.parametrize("data", [b"GET / HTTP", b"POST /", b"\x16\x03", b"\x00\x01"])
def test_what_is_no_header_is_left_alone(data: bytes) -> None:
    assert read_header(data) == ProxyHeader(None, 0)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY " + b"x" * LINE_LIMIT,
        b"PROXY \r\n",
        b"PROXY TCP4 203.0.113.7\r\n",
        b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 nobody 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 70000 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 \xff 2\r\n",
        SIGNATURE + bytes.fromhex("1111000c") + BINARY4[16:],
        SIGNATURE + bytes.fromhex("2211000c") + BINARY4[16:],
        SIGNATURE + bytes.fromhex("21110008") + BINARY4[16:],
        SIGNATURE + b"\x21\x11" + (MAX_ADDRESSES + 1).to_bytes(2, "big"),
    ],
)
def test_what_cannot_be_understood_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidMessage):
        read_header(header)


@given(
    st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c"]),
    st.binary(max_size=200),
)
def test_whatever_is_sent_is_a_header_or_none_or_refused(
    start: bytes, rest: bytes
) -> None:
    data = (start + rest) or b"x"
    try:
        header = read_header(data)
    except InvalidMessage:
        return
    assert header is None or 0 <= header.length <= len(data)
